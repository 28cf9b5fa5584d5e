# The control plane. Built by `cargo xtask images`, whose context holds the static binary in rootfs.tar.
FROM scratch
ADD rootfs.tar /
ENV PATH=/usr/local/bin
# mimalloc commits its arenas page by page: 18 MB resident under load instead of 24, for no time that a bench could see.
ENV MIMALLOC_ARENA_EAGER_COMMIT=0
USER 1337:1337
ENTRYPOINT ["/usr/local/bin/injector"]
