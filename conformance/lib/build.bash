# Builds what the cluster is made of, each once for the digest of what it is made from; source lib/settings.bash first.

# Go takes the version that each go.mod names from the module proxy, also where its packagers switched that off.
export GOTOOLCHAIN=auto CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false ${GOFLAGS:-}"
readonly modules="$conformance/go"
readonly pack="$conformance/../deploy/images/pack"

# Names the folder of a product in the cache, and builds it there where it is missing: `build FOLDER` gets an empty one.
product() { # name, build function, files that decide what becomes of it
  local name=$1 build=$2 digest folder
  shift 2
  digest=$({ declare -f "$build"; cat "$@"; } | sha256sum | cut -c1-16)
  folder="$built/$name-$digest"
  if [[ ! -d $folder ]]; then
    mkdir -p "$built"
    # One build at a time, and each once; the lock ends with the $(…) that this runs in.
    exec 8>"$cache/build-lock"
    flock 8
    [[ -d $folder ]] || build_into "$name" "$build" "$folder"
  fi
  # The age says when it was last wanted; what nobody wanted for a month goes.
  touch "$folder"
  find "$built" -mindepth 1 -maxdepth 1 -mtime +30 -exec rm -rf {} +
  echo "$folder"
}

build_into() { # name, build function, folder
  say "building $1"
  rm -rf "$3.part"
  mkdir -p "$3.part"
  "$2" "$3.part" >&2
  mv "$3.part" "$3"
}

sources_of() { find "$modules/$1" -type f ! -name '*_test.go' | LC_ALL=C sort; }
# The product that build_NAME makes of the module of this name.
of_module() { # name, further files that decide what becomes of it
  local name=$1 sources
  shift
  mapfile -t sources < <(sources_of "$name")
  product "$name" "build_${name//-/_}" "${sources[@]}" "$@"
}
version_of() { # module's folder, module
  (cd "$modules/$1" && go list -m -f '{{.Version}}' "$2")
}
folder_of() { # module's folder, module
  (cd "$modules/$1" && go mod download && go list -m -f '{{.Dir}}' "$2")
}

# The longest step by far, so it makes way for whatever else the machine does.
build_kubernetes() {
  local version minor package program flags='-s -w'
  version=$(version_of kubernetes k8s.io/kubernetes)
  IFS=. read -r _ minor _ <<<"$version"
  # Kubernetes' own build sets these; without them kubectl and the kubelet call themselves v0.0.0 and refuse each other.
  for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    flags+=" -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=$minor -X $package.gitTreeState=clean"
  done
  (cd "$modules/kubernetes" && nice go build -ldflags "$flags" -o "$1/kubernetes" .)
  for program in etcd kube-apiserver kube-controller-manager kube-proxy kube-scheduler kubectl kubelet load-balancer volumes; do
    ln -s kubernetes "$1/$program"
  done
}
built_kubernetes() { of_module kubernetes; }

build_images() {
  local programs="$1/programs" echo=registry.k8s.io/gateway-api/conformance/echo-basic
  mkdir "$programs"
  (cd "$modules/images" && nice go build -ldflags '-s -w' -o "$programs/" ./dns ./pause \
    sigs.k8s.io/gateway-api-conformance-images/echo-basic)
  "$pack" "$1/pause.tar" registry.k8s.io/pause:3.10 "$programs/pause"
  "$pack" "$1/dns.tar" registry.k8s.io/coredns/coredns:v1.15.0 "$programs/dns:/coredns"
  # One manifest of the suite names v0.2.0, whose module nobody can have: it gets v0.1.0, as README.md says.
  "$pack" "$1/echo-basic.tar" "$echo:v0.1.0,$echo:v0.2.0" "$programs/echo-basic"
  rm -r "$programs"
}
built_images() { of_module images "$pack"; }

# The suite of the same version as the definitions, by one go.mod: it refuses others.
build_suite() {
  (cd "$modules/suite" && nice go test -c -ldflags '-s -w' -o "$1/suite" .)
}
# The only source is a test, which sources_of leaves out.
built_suite() { of_module suite "$modules/suite/suite_test.go"; }

build_definitions() {
  local folder channel
  folder="$(folder_of suite sigs.k8s.io/gateway-api)/config/crd"
  for channel in standard experimental; do
    mkdir -p "$1/$channel"
    cp --no-preserve=mode "$folder/$channel"/gateway.networking*.yaml "$1/$channel/"
  done
}
built_definitions() {
  local sources
  mapfile -t sources < <(sources_of suite)
  product definitions build_definitions "${sources[@]}"
}

build_helm() {
  # Charts may ask which version renders them.
  (cd "$modules/helm" && nice go build -o "$1/helm" \
    -ldflags "-s -w -X helm.sh/helm/v3/internal/version.version=$(version_of helm helm.sh/helm/v3)" helm.sh/helm/v3/cmd/helm)
}
built_helm() { of_module helm; }

build_load() {
  (cd "$modules/load" && go build -ldflags '-s -w' -o "$1/load" .)
}
built_load() { of_module load; }

build_metrics() {
  (cd "$modules/metrics" && go build -ldflags '-s -w' -o "$1/metrics" .)
}
built_metrics() { of_module metrics; }

build_cert_manager() {
  (cd "$modules/cert-manager" && nice go build -ldflags '-s -w' -o "$1/cert-manager" .)
  cp --recursive --no-preserve=mode "$(folder_of cert-manager github.com/cert-manager/cert-manager)/deploy/crds" "$1/crds"
}
built_cert_manager() { of_module cert-manager; }
