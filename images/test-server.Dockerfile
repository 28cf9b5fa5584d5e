# What the cluster tests call and are called by; no part of the product.
# Built by `cargo xtask images`, whose context holds the static binary in rootfs.tar.
FROM scratch
ADD rootfs.tar /
ENV PATH=/usr/local/bin
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/test-server"]
