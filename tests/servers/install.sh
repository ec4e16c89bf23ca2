#!/usr/bin/env bash
# Installs the servers that the scenario tests run against, where they are missing. Debian and its kin, as
# root; elsewhere it says what is missing, and the tests that need it skip.
set -euo pipefail

missing=()
need() { # a program that must be there, and the package that brings it
  command -v "$1" >/dev/null || compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null || missing+=("$2")
}

need redis-server redis-server
need java openjdk-17-jre-headless # Kafka
need mvn maven # fetches Kafka
need initdb postgresql
need mariadbd mariadb-server
need node nodejs # Segment's SDK for Node
need npm npm
# further programs, one a line

if ((${#missing[@]} > 0)); then
  if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  else
    echo "not installed, and its tests skip: ${missing[*]}" >&2
  fi
fi

# Kafka comes as jars, which are kept outside the checkout.
cd "$(dirname "$0")/../.."
if command -v mvn >/dev/null && [[ -x .venv/bin/python ]]; then .venv/bin/python -m tests.servers.kafka; fi
# So are the packages of Segment's SDK for Node.
if command -v npm >/dev/null && [[ -x .venv/bin/python ]]; then .venv/bin/python -m tests.servers.segment_node; fi
