# Sets the rules that capture a pod's traffic. Root, because CAP_NET_ADMIN is lost by other users without file capabilities.
# Built by `cargo xtask images`, whose context holds the static binary in rootfs/.
FROM scratch
COPY rootfs/ /
ENV PATH=/usr/local/bin
ENTRYPOINT ["/usr/local/bin/istio-init"]
