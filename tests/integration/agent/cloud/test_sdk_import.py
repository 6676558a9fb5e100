import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from places import ROOT

USING_HTTP = {"common/http_transport.py", "iothub/edge_hsm.py"}


def run(program):
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, check=True, timeout=60, cwd=ROOT,
    )  # fmt: skip
    return done.stdout


def test_the_daemon_runs_without_what_is_heavy_and_leaves_requests_to_others():
    program = (
        "import sys; import agent.cli.run\n"
        "assert not {'requests', 'requests_unixsocket', 'urllib3'} & set(sys.modules)\n"
        "assert not {'sqlite3'} & set(sys.modules)\n"
        "import requests; print(requests.adapters.HTTPAdapter)"
    )
    assert "HTTPAdapter" in run(program)


def test_only_the_unused_http_client_of_the_sdk_needs_requests():
    spec = find_spec("azure.iot.device")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    using = {
        str(module.relative_to(package))
        for module in package.rglob("*.py")
        if "import requests" in module.read_text(encoding="utf-8")
    }
    assert using == USING_HTTP
    # The daemon calls none of the methods that send an HTTP request.
    ours = "".join(module.read_text() for module in (ROOT / "agent").rglob("*.py"))
    for method in ("get_storage_info_for_blob", "notify_blob_upload_status", "invoke_method"):
        assert method not in ours


def test_empty_modules_replace_what_the_sdk_imports_for_http():
    # Both SDK 2.14, with requests-unixsocket2, and 2.15, with requests-unixsocket.
    program = (
        "import agent.cloud.sdk_import as it\n"
        "from azure.iot.device.iothub import edge_hsm\n"
        "from azure.iot.device.common import http_transport\n"
        "assert it.missing == {}, it.missing\n"
        "for module in edge_hsm.requests, http_transport.requests, edge_hsm.requests_unixsocket:\n"
        "    print(module.__name__, module.__file__ if hasattr(module, '__file__') else 'empty')\n"
    )
    done = run(program)
    assert done.split("\n") == ["requests empty"] * 2 + ["requests_unixsocket empty", ""]
