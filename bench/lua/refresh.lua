-- A chain of refresh tokens for each thread: run it with as many threads as connections,
-- because wrk does not tell a thread which of its connections an answer came from.
local chains, started = {}, 0
for token in os.getenv("BENCH_REFRESH_TOKENS"):gmatch("%S+") do
  chains[#chains + 1] = token
end

wrk.method = "POST"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"

function setup(thread)
  started = started + 1
  thread:set("token", chains[started])
end

function request()
  return wrk.format(nil, nil, nil, "grant_type=refresh_token&refresh_token=" .. (token or ""))
end

function response(status, headers, body)
  token = body:match('"refresh_token"%s*:%s*"([^"]+)"') or token
end
