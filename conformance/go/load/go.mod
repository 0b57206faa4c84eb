module tidegate.dev/conformance/load

go 1.26.0
