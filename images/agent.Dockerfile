# The sidecar, under both names that templates call it by, and istio-init for `agent istio-iptables`.
# Built by `cargo xtask images`, whose context holds the static binaries in rootfs.tar: an archive can carry the file capability of istio-init.
FROM scratch
ADD rootfs.tar /
ENV PATH=/usr/local/bin
# mimalloc commits its arenas page by page, and gives a page back as soon as nothing is in it: docs/performance.md has the figures.
ENV MIMALLOC_ARENA_EAGER_COMMIT=0 MIMALLOC_PURGE_DELAY=0
USER 1337:1337
ENTRYPOINT ["/usr/local/bin/agent"]
