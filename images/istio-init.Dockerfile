# Sets the rules that capture a pod's traffic. Root, as Istio's is; any other user does if privilege escalation is allowed, by the file capability.
# Built by `cargo xtask images`, whose context holds the static binary in rootfs.tar: an archive can carry its file capability.
FROM scratch
ADD rootfs.tar /
ENV PATH=/usr/local/bin
ENTRYPOINT ["/usr/local/bin/istio-init"]
