-- Some paths in turn, each request written out once: formatting it anew would cost the load core.
local requests, turn = {}, 0

function init()
  for path in os.getenv("BENCH_PATHS"):gmatch("%S+") do
    requests[#requests + 1] = wrk.format("GET", path)
  end
end

function request()
  turn = turn % #requests + 1
  return requests[turn]
end
