# The sidecar, under both names that templates call it by, and istio-init for `agent istio-iptables`.
# Built by `cargo xtask images`, whose context holds the static binaries in rootfs.tar: an archive can carry the file capability of istio-init.
FROM scratch
ADD rootfs.tar /
ENV PATH=/usr/local/bin
USER 1337:1337
ENTRYPOINT ["/usr/local/bin/agent"]
