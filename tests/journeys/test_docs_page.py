"""The Authorize button of /docs, in a real Chromium that reaches nothing but this server."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from ports import free_port

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium")


@pytest.fixture
def demo(tmp_path):
    port = free_port()
    env = {k: v for k, v in os.environ.items() if not k.startswith("WATCHWORD_")}
    command = [sys.executable, "-m", "watchword", "dev", "--app", "demo:app", "--port", str(port)]
    env["PYTHONPATH"] = str(ROOT / "examples")
    server = subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, start_new_session=True
    )
    base = f"http://127.0.0.1:{port}"
    for _ in range(200):
        try:
            urllib.request.urlopen(base, timeout=5).close()
            break
        except OSError:
            time.sleep(0.1)
    yield base
    os.killpg(server.pid, signal.SIGTERM)
    server.wait(20)


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium; apt-get install chromium")
def test_authorize_log_in_call_and_see_the_answer(demo):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{demo}/docs")
        page.click(".btn.authorize")
        page.fill("#oauth_username", "johndoe")
        page.fill("#oauth_password", "secret")
        page.click("text=select all")
        page.click(".auth-btn-wrapper .authorize")
        page.wait_for_selector("text=Authorized")
        page.click(".btn-done")
        page.click("#operations-default-read_my_items_users_me_items_get .opblock-summary")
        page.click("text=Try it out")
        page.click(".execute")
        page.wait_for_selector(".live-responses-table .response-col_status")
        answer = page.inner_text(".live-responses-table")
        browser.close()
    assert "200" in answer and '"owner": "johndoe"' in answer
    assert all(url.startswith(demo) for url in asked)  # no CDN, no fonts, nobody told
