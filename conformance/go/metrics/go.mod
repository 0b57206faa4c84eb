module tidegate.dev/conformance/metrics

go 1.26.0
