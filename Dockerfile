# The image is the binary, its C runtime and the certificate authorities: no shell, no package manager, no root.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /build
# The dependencies alone, against empty sources: this layer is built again only when they change.
COPY Cargo.toml Cargo.lock ./
# Cargo.toml names tests and benchmarks, so cargo wants files of their names; nothing of them is built.
RUN mkdir src benches tests \
    && for file in src/main.rs tests/main.rs benches/pace.rs benches/relay.rs benches/sandbox.rs; \
        do echo 'fn main() {}' > "$file"; done \
    && touch src/lib.rs \
    && cargo build --release --locked \
    && rm -r src
COPY src src
# cargo goes by the time of change, and the copied files may be older than the empty ones.
RUN find src -name '*.rs' -exec touch {} + \
    && cargo build --release --locked

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /build/target/release/bulkrelease /bulkrelease
USER nonroot:nonroot
# Metrics and health.
EXPOSE 9464
# There is no curl in here; the binary asks itself.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["/bulkrelease", "healthcheck"]
ENTRYPOINT ["/bulkrelease"]
CMD ["worker"]
