# The rig's own authority, certificates and tokens, and kubeconfigs that use
# them. Elliptic curve keys: made in milliseconds.

pki_up() {
	local pki=$RIG_DIR/pki node
	mkdir -m 700 "$pki"
	make_authority "$pki"
	make_certificate api "CN=kube-apiserver" serverAuth \
		"IP:$API_ADDRESS,IP:$SERVICE_API_ADDRESS,IP:127.0.0.1,DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local"
	make_certificate api-to-kubelet "O=system:masters/CN=kube-apiserver-kubelet-client" clientAuth ""
	make_key "$pki/sa.key"
	openssl pkey -in "$pki/sa.key" -pubout -out "$pki/sa.pub"

	printf '%s,admin,admin,system:masters\n' "$ADMIN_TOKEN" >"$pki/tokens.csv"
	make_kubeconfig "$ADMIN_TOKEN" >"$ADMIN_KUBECONFIG"
	chmod 600 "$ADMIN_KUBECONFIG"
	for node in "${HOST_NODES[@]}" "$VM_NODE"; do
		make_certificate "$node" "O=system:nodes/CN=system:node:$node" serverAuth \
			"IP:${NODE_ADDRESS[$node]},DNS:$node"
		printf '%stoken,system:node:%s,%s,system:nodes\n' "$node" "$node" "$node" >>"$pki/tokens.csv"
		make_kubeconfig "${node}token" >"$pki/$node.kubeconfig"
	done
}

quietly_openssl() {
	local output
	output=$(openssl "$@" 2>&1) || die "openssl $1 failed: $output"
}

make_key() {
	quietly_openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"
}

make_authority() {
	local pki=$1
	cat >"$pki/ca.conf" <<-CONF
		[req]
		distinguished_name = name
		x509_extensions = authority
		[name]
		[authority]
		basicConstraints = critical, CA:TRUE
		keyUsage = critical, digitalSignature, keyCertSign, cRLSign
		subjectKeyIdentifier = hash
	CONF
	make_key "$pki/ca.key"
	quietly_openssl req -x509 -new -config "$pki/ca.conf" -key "$pki/ca.key" \
		-subj /CN=jobmeter-rig -days 365 -out "$pki/ca.crt"
}

# make_certificate FILE SUBJECT USAGE ALTERNATIVE_NAMES
make_certificate() {
	local file=$RIG_DIR/pki/$1 subject=$2 usage=$3 names=$4
	make_key "$file.key"
	quietly_openssl req -new -config "$RIG_DIR/pki/ca.conf" -key "$file.key" \
		-subj "/$subject" -out "$file.csr"
	printf '%s\n' 'basicConstraints = critical, CA:FALSE' \
		'keyUsage = critical, digitalSignature' "extendedKeyUsage = $usage" \
		${names:+"subjectAltName = $names"} >"$file.ext"
	quietly_openssl x509 -req -in "$file.csr" -extfile "$file.ext" -days 365 \
		-CA "$RIG_DIR/pki/ca.crt" -CAkey "$RIG_DIR/pki/ca.key" -CAcreateserial -out "$file.crt"
	rm "$file.csr" "$file.ext"
}

# make_kubeconfig TOKEN: complete in itself, so that it can be copied anywhere.
make_kubeconfig() {
	cat <<-YAML
		apiVersion: v1
		kind: Config
		clusters:
		- name: rig
		  cluster:
		    server: $API_URL
		    certificate-authority-data: $(base64 -w 0 <"$RIG_DIR/pki/ca.crt")
		users:
		- name: rig
		  user:
		    token: $1
		contexts:
		- name: rig
		  context: {cluster: rig, user: rig}
		current-context: rig
	YAML
}
