//! What a client takes and what it would rather have, as its `Accept` says.

use axum::http::{HeaderMap, header};
use service_api::routes;

/// All that it says.
pub(super) fn said(headers: &HeaderMap) -> String {
    let said: Vec<&str> =
        headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
    said.join(",")
}

/// How much this is wanted, from 0 to 1; `*/*` speaks of nothing. A version that is named has to be this one.
pub(super) fn weight(accept: &str, kind: &str, version: Option<&str>) -> f64 {
    let of = |part: &str| {
        let mut parts = part.split(';').map(str::trim);
        let matches = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(kind));
        let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
        let value = |key: &str| {
            parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| *value)
        };
        let fits = version.is_none_or(|ours| value("version").is_none_or(|theirs| theirs == ours));
        (matches && fits).then(|| value("q").and_then(|q| q.parse::<f64>().ok()).unwrap_or(1.0))
    };
    accept.split(',').filter_map(of).fold(0.0, f64::max)
}

/// Whether this is rather wanted than one answer in JSON, which is what everybody gets who says nothing.
pub(super) fn prefers(accept: &str, kind: &str) -> bool {
    let wanted = weight(accept, kind, None);
    wanted > 0.0 && wanted >= weight(accept, "application/json", None)
}

/// Whether rows are taken as they come.
pub(super) fn takes_lines(headers: &HeaderMap) -> bool {
    prefers(&said(headers), routes::NDJSON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_to_who_would_rather_have_them() {
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
