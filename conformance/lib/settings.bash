# Every path, name and address of the cluster, for the scripts to read; sets variables and does nothing.
# A step that fails in $(…) ends the script, as it does elsewhere.
shopt -s inherit_errexit

conformance="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
readonly conformance

# Outside of the checkout, so that a clean clone does not build for 20 minutes what an earlier one has built.
readonly cache="${TIDEGATE_CONFORMANCE:-${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/conformance}"
readonly built="$cache/built"    # programs and images, each in a folder named by the digest of what it is made of
readonly run="$cache/node"       # what the running node has on the disk; `down` removes it
readonly kubeconfig="$run/admin.kubeconfig"

# The name of the network namespace, of the cgroups and, with -h, of the host's end of the link: 15 characters are a
# link's limit.
readonly node=tidegate-node

# Private ranges that clusters often have; `up` stops where this machine already has a route to one of them.
readonly host_ip=10.200.0.1
readonly node_ip=10.200.0.2
readonly pod_network=10.244.0.0/16
readonly service_network=10.96.0.0/16
readonly api_ip=10.96.0.1        # by rule the first address of the service network
readonly dns_ip=10.96.0.10
readonly balancer_network=10.97.0.0/24

# The suite asks for one address that works and one that does not: the last usable ones are the last to be handed out,
# and 192.0.2.0/24 is for documentation (RFC 5737).
readonly usable_address=10.97.0.250
readonly unusable_address=192.0.2.250


say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
fail() { say "$*"; exit 1; }

# The first process of the node. A process id alone may be somebody else's by now; its network namespace says whose it is.
node_init() {
  local pid
  pid=$(cat "$run/init.pid" 2>/dev/null) && [[ "/proc/$pid/ns/net" -ef "/run/netns/$node" ]] && echo "$pid"
}

# Runs a command in every namespace of the node.
in_node() {
  local init
  init=$(node_init) || fail "the node does not run; conformance/up starts it"
  nsenter --target "$init" --net --mount --pid --ipc --uts "$@"
}
