# How venv.sh runs pip, and explains a failure of the network.
# shellcheck shell=sh

# Drops the variables that change where Python looks for modules, or where setuptools installs.
# run_pip.py handles those of pip.
drop_python_variables() {
    for name in $(env | sed -n 's/^\(PYTHON[A-Z0-9_]\{1,\}\)=.*/\1/p'); do
        unset "$name"
    done
    unset VIRTUAL_ENV __PYVENV_LAUNCHER__ DIST_EXTRA_CONFIG SETUPTOOLS_USE_DISTUTILS
    export PYTHONNOUSERSITE=1 # Also for the processes that pip starts.
}

# explain_download LOG [LOG]...: prints what to do if the first LOG shows that pip or apt-get failed
# because of the network or pip's setting no-index; else returns 1. The reason may be in any LOG.
explain_download() {
    reason='Temporary failure (in name resolution|resolving)|Name or service not known|nodename nor'
    reason="$reason servname|[Cc]onnection refused|Connection reset by peer|Network is unreachable"
    reason="$reason|No route to host|[Tt]imed out|Could not (resolve|connect)|Unable to connect"
    reason=$(grep -Eohs "$reason" "$@" | head -n 1)
    if [ -n "$reason" ] && is_network_failure "$1"; then
        echo "Cannot download packages: the network or the package server does not answer ($reason)." \
            "Check the network, and the proxy or index if you have set one for pip, then try again."
    elif grep -q 'from versions: none' "$1" && ! grep -q 'Looking in indexes' "$1"; then
        missing=$(sed -n 's/.*No matching distribution found for \([^ ;]*\).*/\1/p' "$1" | head -n 1)
        echo "Cannot download $missing: pip is set to use no index (no-index), or its index does not" \
            "have it or does not answer. Check 'pip config list', then try again."
    else
        return 1
    fi
}

# A retry that succeeded also leaves a warning: only the last one of a series counts.
is_network_failure() {
    failure='Max retries exceeded|(ReadTimeout|ConnectTimeout|NewConnection|NameResolution|Proxy)Error'
    failure="$failure|ConnectionResetError|E: (Failed to fetch|Unable to fetch)"
    failure="$failure|E: (Unable to locate package|Package .* has no installation candidate)"
    grep -v 'WARNING: Retrying' "$1" | grep -Eq "$failure" ||
        { grep -q 'No matching distribution found' "$1" && grep -q 'Retry(total=0' "$1"; }
}
