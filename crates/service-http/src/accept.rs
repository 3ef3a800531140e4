//! Content negotiation by the `Accept` headers of a client.

use axum::http::{HeaderMap, header};
use service_api::routes;

/// All values of the header.
pub(super) fn accept_header(headers: &HeaderMap) -> String {
    let values: Vec<&str> =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    values.join(",")
}

/// The weight of a media type, from 0 to 1; `*/*` is ignored. A version in the header must equal `version`.
pub(super) fn weight(accept: &str, kind: &str, version: Option<&str>) -> f64 {
    let weight = |part: &str| {
        let mut parts = part.split(';').map(str::trim);
        let matches = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(kind));
        let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
        let value = |key: &str| {
            parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| *value)
        };
        let fits = version.is_none_or(|ours| value("version").is_none_or(|theirs| theirs == ours));
        (matches && fits).then(|| value("q").and_then(|q| q.parse::<f64>().ok()).unwrap_or(1.0))
    };
    accept.split(',').filter_map(weight).fold(0.0, f64::max)
}

/// Whether a client prefers this media type to JSON, which is the default.
pub(super) fn prefers(accept: &str, kind: &str) -> bool {
    let wanted = weight(accept, kind, None);
    wanted > 0.0 && wanted >= weight(accept, "application/json", None)
}

/// Whether a client prefers rows line by line.
pub(super) fn takes_lines(headers: &HeaderMap) -> bool {
    prefers(&accept_header(headers), routes::NDJSON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_prefer_lines_get_them() {
        for lines in [
            "application/x-ndjson",
            "Application/X-NDJSON",
            "application/json, application/x-ndjson",
            "application/x-ndjson;q=0.9, application/json;q=0.1",
            "application/x-ndjson ; q=0.5, */*;q=0.1",
        ] {
            assert!(prefers(lines, routes::NDJSON), "{lines}");
        }
        for one in [
            "",
            "*/*",
            "application/json",
            "application/x-ndjson;q=0, application/json",
            "application/x-ndjson;q=0",
            "application/json, application/x-ndjson;q=0.1",
            "application/x-ndjsonish",
        ] {
            assert!(!prefers(one, routes::NDJSON), "{one}");
        }
    }
}
