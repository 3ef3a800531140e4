//! URLs of `http://` and `https://` endpoints: the host and port of one, and its text for messages.

use service_host::text::truncate;
use url::{Position, Url};

/// The maximum length of a URL in a message.
const MAX_URL_CHARS: usize = 200;

/// The host and the port of a URL.
pub(super) fn host_and_port(url: &str) -> Option<(String, u16)> {
    let url = Url::parse(url).ok()?;
    Some((url.host_str()?.to_owned(), url.port_or_known_default()?))
}

/// Formats a URL for messages.
pub(super) fn describe_url(url: &str) -> String {
    Url::parse(url).map_or_else(|_| url.to_owned(), |url| without_user(&url))
}

/// A URL without user and password, truncated to [`MAX_URL_CHARS`].
pub(super) fn without_user(url: &Url) -> String {
    let url = format!("{}{}", &url[..Position::BeforeUsername], &url[Position::BeforeHost..]);
    truncate(&url, MAX_URL_CHARS)
}
