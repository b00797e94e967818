"""The service: judgements over HTTP (docs/serving.md). Every route uses the same loaded `Judge`.

`find` says which model a name means, `loading` loads and checks it. `waiting` has the calls and who is next, `service`
the model thread with the collector of batches. `app` has the routes; `door` is what every request passes before them,
`keys` the API keys, `replies` answers and errors, `metrics` the measurements. `candidates` reads candidates and
documents, `judging` is `/v1/judge`, `rerank` `/v1/rerank`, and `chat` `/v1/chat/completions` with `quepid`,
`opensearch` and `veritail`, the tools that call it (`tool` is what they have in common). `running` starts and stops
the server with the `settings`. `page.html` is the page of the API.
"""
