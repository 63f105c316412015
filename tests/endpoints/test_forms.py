"""Reading bodies: urlencoded, small, once; rows T-25 to T-27, D-03, D-04 and D-06."""

import time

import pytest

FORM = "application/x-www-form-urlencoded"
PATHS = ["/token", "/refresh-token", "/revoke", "/introspect", "/auth/token"]


@pytest.mark.attack("T-25", "D-04", "D-06", "L-21")
@pytest.mark.parametrize("path", PATHS)
async def test_nothing_but_a_plain_form_is_read(server, refused, hashed, path):
    good = b"grant_type=password&username=johndoe&password=secret&token=x&refresh_token=x"
    multipart = (
        b'--x\r\nContent-Disposition: form-data; name="username"\r\n\r\njohndoe\r\n--x--\r\n'
    )
    kinds = [
        ("application/json", b'{"username":"johndoe","password":"secret"}'),
        ("multipart/form-data; boundary=x", multipart),
        ("multipart/form-data; boundary=" + "x" * 60_000, b"x" * 60_000),
        ("multipart/form-data", multipart),
        ("text/plain", good),
        ("", good),
        (f"{FORM}; charset=utf-16", good.decode().encode("utf-16")),
        (f"{FORM}; charset=utf-7", good),
        (f"{FORM}; boundary=x", good),
        (f"{FORM}, {FORM}", good),
        (f"{FORM}x", good),
        ("*/*", good),
    ]
    with server.unchanged():
        for kind, body in kinds:
            answer = await server.http.post(path, content=body, headers={"Content-Type": kind})
            refused(answer, 415, "invalid_request")
        unsaid = await server.http.post(path, content=good)
        refused(unsaid, 415, "invalid_request")
        for coding in ("gzip", "deflate", "br", "gzip, identity", "zstd", "x"):
            headers = {"Content-Type": FORM, "Content-Encoding": coding}
            refused(
                await server.http.post(path, content=good, headers=headers), 415, "invalid_request"
            )
    assert hashed == []


@pytest.mark.parametrize(
    "kind", [FORM, FORM.upper(), f"{FORM};charset=UTF-8", f"{FORM}; charset=utf-8"]
)
async def test_the_forms_that_clients_send_are_read(server, kind):
    answer = await server.http.post(
        "/token", content=b"username=johndoe&password=secret", headers={"Content-Type": kind}
    )
    assert answer.is_success


@pytest.mark.attack("T-26", "L-19")
@pytest.mark.parametrize("path", PATHS)
async def test_big_bodies_are_cut_off_before_they_are_read(server, refused, hashed, path):
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 4096
            yield b"a=" + b"x" * 4094
            assert sent < 1_000_000, "it reads on and on"

    headers = {"Content-Type": FORM}
    with server.unchanged():
        refused(
            await server.http.post(path, content=endless(), headers=headers), 413, "invalid_request"
        )
        assert sent <= 64 * 1024 + 2 * 4096
        began = time.process_time()
        for body in (b"x" * 10_000_000, b"&".join(b"a%d=1" % n for n in range(100_000))):
            answer = await server.http.post(path, content=body, headers=headers)
            refused(answer, 413, "invalid_request")
        lie = {**headers, "Content-Length": "9" * 4000}
        refused(await server.http.post(path, content=b"a=b", headers=lie), 413, "invalid_request")
        assert time.process_time() - began < 2, "seconds of processor for all of them"
    assert hashed == []


@pytest.mark.attack("T-26")
async def test_many_fields_and_long_values_are_refused(server, refused):
    many = {f"a{n}": "1" for n in range(65)}
    refused(await server.post("/token", many), 400, "invalid_request")
    long = {"grant_type": "refresh_token", "refresh_token": "x" * 8193}
    refused(await server.post("/token", long), 400, "invalid_request")


@pytest.mark.attack("T-27", "L-21", "L-38")
@pytest.mark.parametrize(
    "body",
    [
        b"grant_type=password&grant_type=password&username=johndoe&password=secret",
        b"grant_type=refresh_token&username=johndoe&password=secret&grant_type=password",
        b"username=johndoe&username=alice&password=secret",
        b"username=johndoe&password=secret&password=x",
        b"username=johndoe&password=secret&p%61ssword=secret",
        b"username=johndoe&password=secret&scope=me&scope=items",
        b"username=johndoe&password=secret&scope=&scope=",
        b"username=johndoe&password=secret&client_id=watchword&client_id=watchword",
        b"username=johndoe&password[]=secret",
        b"username=johndoe&password=",
        b"username=johndoe",
        b"username=&password=secret",
        b"password=secret",
        b"",
        b"&",
        b"=",
        b"username",
        b"username=johndoe&password=%",
        b"username=johndoe&password=%zz",
        b"username=johndoe&password=%ff",
        b"username=johndoe&password=%ed%a0%80",
        b"username=johndoe&password=\xff",
        b"\x00",
        b'{"username":"johndoe","password":"secret"}',
        b"[" * 60_000,
    ],
)
async def test_malformed_and_repeated_fields(server, refused, hashed, body):
    with server.unchanged():
        answer = await server.http.post("/token", content=body, headers={"Content-Type": FORM})
    refused(answer, 400, "invalid_request")
    assert hashed == []


@pytest.mark.attack("T-27")
async def test_a_semicolon_is_no_separator(server, refused):
    body = b"a=1;grant_type=client_credentials&username=johndoe&password=secret"
    answer = await server.http.post("/token", content=body, headers={"Content-Type": FORM})
    assert "refresh_token" in answer.json(), "the password form, with a field that means nothing"
    odd = b"username=johndoe&password=secret;x=1"
    refused(
        await server.http.post("/token", content=odd, headers={"Content-Type": FORM}),
        401,
        "invalid_grant",
    )


@pytest.mark.attack("T-27")
@pytest.mark.parametrize(
    "query", ["grant_type=password", "username=alice", "scope=me", "%73cope=x"]
)
async def test_a_parameter_in_body_and_url(server, refused, query):
    form = {"grant_type": "password", "username": "johndoe", "password": "secret", "scope": "me"}
    with server.unchanged():
        refused(await server.post(f"/token?{query}", form), 400, "invalid_request")
    assert (await server.post("/token?utm_source=x", form)).is_success


@pytest.mark.attack("D-03")
async def test_deep_and_endless_json_is_not_even_looked_at(server, refused):
    headers = {"Content-Type": "application/json"}
    for body in (b"[" * 100_000, b"9" * 1_000_000, b'{"a":1,' * 10_000, b'"' + b"x" * 10_000_000):
        for path in PATHS:
            answer = await server.http.post(path, content=body, headers=headers)
            refused(answer, 415, "invalid_request")


@pytest.mark.attack("S-08")
async def test_odd_text_is_refused_and_never_an_error_of_ours(server):
    odd = ["\0", "a\0b", "\ufeff", "\u202e", "\U0001f600" * 100, "x" * 60_000, "'; --", "\r\nX: y"]
    for text in odd:
        for field in ("username", "password", "scope", "client_id", "grant_type", "refresh_token"):
            form = {"username": "johndoe", "password": "wrong", field: text}
            answer = await server.post("/token", form)
            assert 400 <= answer.status_code < 500, (field, text)
            assert answer.text.isascii()
        answer = await server.post("/revoke", {"token": text})
        assert answer.status_code == 200
        assert answer.json() == {}
