# etcd, API server, controller manager, scheduler, kube-proxy and CoreDNS, each
# a process in the rig's network namespace.

# spawn_in_netns COMPONENT COMMAND…
spawn_in_netns() {
	local component=$1
	shift
	spawn "$component" nsenter --net="/run/netns/$NETNS" "$@"
}

# The API server takes seconds to be ready: start it, do something else, await it.
start_api_server() {
	local pki=$RIG_DIR/pki
	spawn_in_netns etcd "$KUBE_BIN/etcd" --data-dir "$RIG_DIR/etcd" --unsafe-no-fsync \
		--listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
		--listen-peer-urls http://127.0.0.1:2380 --log-level warn

	# Without the address types, `kubectl logs` looks node names up in DNS.
	spawn_in_netns kube-apiserver "$KUBE_BIN/kube-apiserver" \
		--etcd-servers=http://127.0.0.1:2379 \
		--bind-address=0.0.0.0 --secure-port=6443 --advertise-address="$API_ADDRESS" \
		--tls-cert-file="$pki/api.crt" --tls-private-key-file="$pki/api.key" \
		--cert-dir="$RIG_DIR/kube-apiserver" \
		--client-ca-file="$pki/ca.crt" --token-auth-file="$pki/tokens.csv" \
		--authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
		--service-account-issuer=https://kubernetes.default.svc.cluster.local \
		--service-account-key-file="$pki/sa.pub" --service-account-signing-key-file="$pki/sa.key" \
		--kubelet-certificate-authority="$pki/ca.crt" \
		--kubelet-client-certificate="$pki/api-to-kubelet.crt" \
		--kubelet-client-key="$pki/api-to-kubelet.key" \
		--kubelet-preferred-address-types=InternalIP \
		--service-cluster-ip-range="$SERVICE_CIDR" --allow-privileged=true
}

api_is_ready() { kubectl get --raw /readyz --request-timeout=2s &>/dev/null; }

await_api_server() {
	await kube-apiserver 60 "the API server to be ready" api_is_ready
}

start_controllers() {
	local pki=$RIG_DIR/pki
	# By default a controller may ask 20 times a second: too slow for thousands of fake pods.
	spawn_in_netns kube-controller-manager "$KUBE_BIN/kube-controller-manager" \
		--kubeconfig "$ADMIN_KUBECONFIG" --leader-elect=false --kube-api-qps=200 --kube-api-burst=400 \
		--service-account-private-key-file "$pki/sa.key" --root-ca-file "$pki/ca.crt" \
		--flex-volume-plugin-dir "$RIG_DIR/kube-controller-manager" \
		--cluster-signing-cert-file "$pki/ca.crt" --cluster-signing-key-file "$pki/ca.key"
	spawn_in_netns kube-scheduler "$KUBE_BIN/kube-scheduler" \
		--kubeconfig "$ADMIN_KUBECONFIG" --leader-elect=false --kube-api-qps=200 --kube-api-burst=400
	# One is enough for all nodes of the namespace.
	spawn_in_netns kube-proxy "$KUBE_BIN/kube-proxy" \
		--kubeconfig "$ADMIN_KUBECONFIG" --proxy-mode=iptables --cluster-cidr="$POD_CIDR" \
		--hostname-override=node-a --conntrack-max-per-core=0
	render Corefile ADDRESS="$API_ADDRESS" KUBECONFIG="$ADMIN_KUBECONFIG" >"$RIG_DIR/Corefile"
	spawn_in_netns coredns "$COREDNS_BIN/coredns" -conf "$RIG_DIR/Corefile"
}

default_account_exists() {
	kubectl get serviceaccount default --namespace default &>/dev/null
}

# Pods are refused until the controller manager has made the namespace's account.
await_controllers() {
	await kube-controller-manager 30 "the default ServiceAccount" default_account_exists
}
