"""The docs page from our own origin, and where it is not."""

import pytest


async def test_the_page_loads_nothing_from_elsewhere(server):
    page = await server.get("/docs")
    assert page.is_success
    assert "http" not in page.text.replace("http://www.w3.org", "")
    assert "Development mode" in page.text
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png"):
        assert f"/auth/static/{name}" in page.text
        asset = await server.get(f"/auth/static/{name}")
        assert asset.is_success
        assert len(asset.content) > 500
        assert asset.headers["x-content-type-options"] == "nosniff"
    for name in ("../../settings/fields.py", "%2e%2e/x", "swagger-ui.css.map", ""):
        assert (await server.get(f"/auth/static/{name}")).status_code == 404


@pytest.mark.attack("B-15")
async def test_docs_off_means_off(build):
    server = build(docs=False)
    for path in ("/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect"):
        answer = await server.get(path)
        assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
    for path in ("/auth/static/swagger-ui.css",):
        assert (await server.get(path)).status_code == 404
