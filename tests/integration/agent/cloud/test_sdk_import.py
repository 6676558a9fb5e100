import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from places import ROOT

USING_HTTP = {"common/http_transport.py", "iothub/edge_hsm.py"}


def test_the_daemon_runs_without_what_is_heavy_and_leaves_requests_to_others():
    program = (
        "import sys; import agent.cli.run\n"
        "assert not {'requests', 'requests_unixsocket', 'urllib3'} & set(sys.modules)\n"
        "assert not {'sqlite3'} & set(sys.modules)\n"
        "import requests; print(requests.adapters.HTTPAdapter)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True, text=True, check=True, timeout=60, cwd=ROOT,
    )  # fmt: skip
    assert "HTTPAdapter" in done.stdout


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
