#!/usr/bin/env bash
# Installs what `make failover` needs and nothing else here does: Patroni and etcd, as Debian has them, and
# the tools that make networks. As root; no service of theirs is started.
set -euo pipefail

missing=()
need() { # a program that must be there, and the package that brings it
  command -v "$1" >/dev/null || missing+=("$2")
}
need patroni patroni
need etcd etcd-server
need ip iproute2

((${#missing[@]} > 0)) || exit 0
apt-get update -qq
RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
