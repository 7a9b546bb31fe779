# One build, one target for each process: docker build --target agent|coordinator|cli|sidecar -t jobmeter-agent .
# Everything is one static binary; the images hold nothing else but CA certificates and a user, and that of the sidecar not even those.

FROM rust:1.95-alpine AS build
RUN apk add --no-cache build-base
WORKDIR /src
COPY . .
# One package at a time: features that only tests ask for must not reach what ships.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    mkdir /out \
 && for package in jobmeter-agent jobmeter-coordinator jobmeter; do \
      cargo build --locked --profile dist -p "$package" --bins && cp "target/dist/$package" /out/; \
    done \
 && cargo build --locked --profile small -p jobmeter-sidecar --bins && cp target/small/jobmeter-sidecar /out/

FROM gcr.io/distroless/static:nonroot AS coordinator
COPY --from=build /out/jobmeter-coordinator /jobmeter-coordinator
ENTRYPOINT ["/jobmeter-coordinator"]

FROM gcr.io/distroless/static:nonroot AS cli
COPY --from=build /out/jobmeter /jobmeter
ENTRYPOINT ["/jobmeter"]

# For job images to copy it from, and to start it from: COPY --from=…/jobmeter-sidecar /jobmeter-sidecar /usr/local/bin/
FROM scratch AS sidecar
COPY --from=build /out/jobmeter-sidecar /jobmeter-sidecar
USER 65532:65532
ENTRYPOINT ["/jobmeter-sidecar"]

# Root, but with every capability dropped that the DaemonSet does not name: it reads other users' processes and logs.
FROM gcr.io/distroless/static:latest AS agent
COPY --from=build /out/jobmeter-agent /jobmeter-agent
USER 0:0
ENTRYPOINT ["/jobmeter-agent"]
