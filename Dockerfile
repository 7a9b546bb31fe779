# One build, one target for each process: docker build --target agent|coordinator|cli -t jobmeter-agent .
# Everything is one static binary; the images hold nothing else but CA certificates and a user.

FROM rust:1.95-alpine AS build
RUN apk add --no-cache build-base
WORKDIR /src
COPY . .
# One package at a time: features that only tests ask for must not reach what ships.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    mkdir /out \
 && for package in jobmeter-agent jobmeter-coordinator jobmeter; do \
      cargo build --locked --profile dist -p "$package" --bins && cp "target/dist/$package" /out/; \
    done

FROM gcr.io/distroless/static:nonroot AS coordinator
COPY --from=build /out/jobmeter-coordinator /jobmeter-coordinator
ENTRYPOINT ["/jobmeter-coordinator"]

FROM gcr.io/distroless/static:nonroot AS cli
COPY --from=build /out/jobmeter /jobmeter
ENTRYPOINT ["/jobmeter"]

# Root, but with every capability dropped that the DaemonSet does not name: it reads other users' processes and logs.
FROM gcr.io/distroless/static:latest AS agent
COPY --from=build /out/jobmeter-agent /jobmeter-agent
USER 0:0
ENTRYPOINT ["/jobmeter-agent"]
