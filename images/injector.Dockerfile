# The control plane. Built by `cargo xtask images`, whose context holds the static binary in rootfs.tar.
FROM scratch
ADD rootfs.tar /
ENV PATH=/usr/local/bin
USER 1337:1337
ENTRYPOINT ["/usr/local/bin/injector"]
