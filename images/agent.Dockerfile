# The sidecar, under both names that templates call it by, and istio-init for `agent istio-iptables`.
# Built by `cargo xtask images`, whose context holds the static binaries in rootfs/.
FROM scratch
COPY rootfs/ /
ENV PATH=/usr/local/bin
USER 1337:1337
ENTRYPOINT ["/usr/local/bin/agent"]
