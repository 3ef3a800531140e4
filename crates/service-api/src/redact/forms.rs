//! Secrets that are recognized by their form: tokens with a known prefix, JSON web tokens, private keys, webhooks, and
//! the credentials after `Bearer`. Words of ordinary text do not have these forms.

use std::ops::Range;

/// The prefix of a token, and the minimum length of the rest.
const TOKENS: [(&[u8], usize); 43] = [
    // A JSON web token: `{"` in base64.
    (b"eyJ", 10),
    // GitHub.
    (b"ghp_", 8),
    (b"gho_", 8),
    (b"ghu_", 8),
    (b"ghs_", 8),
    (b"ghr_", 8),
    (b"github_pat_", 8),
    // GitLab.
    (b"glpat-", 8),
    (b"gldt-", 8),
    (b"glrt-", 8),
    (b"glptt-", 8),
    (b"glcbt-", 8),
    (b"glft-", 8),
    (b"glimt-", 8),
    (b"glsoat-", 8),
    (b"glagent-", 8),
    // Slack.
    (b"xoxa-", 6),
    (b"xoxb-", 6),
    (b"xoxc-", 6),
    (b"xoxd-", 6),
    (b"xoxe-", 6),
    (b"xoxe.", 6),
    (b"xoxo-", 6),
    (b"xoxp-", 6),
    (b"xoxr-", 6),
    (b"xoxs-", 6),
    (b"xapp-", 6),
    // Stripe.
    (b"sk_live_", 8),
    (b"sk_test_", 8),
    (b"rk_live_", 8),
    (b"rk_test_", 8),
    (b"whsec_", 8),
    // Docker, DigitalOcean, Google, Hugging Face, npm, PyPI, SendGrid, Shopify, Vault.
    (b"dckr_pat_", 8),
    (b"dop_v1_", 16),
    (b"AIza", 30),
    (HF, 16),
    (b"npm_", 30),
    (b"pypi-Ag", 16),
    (b"SG.", 40),
    (b"shpat_", 16),
    (b"hvs.", 16),
    (b"hvb.", 16),
    // OpenAI and Anthropic.
    (SK, 16),
];
/// The prefix of a token that ordinary words may have too; a token also contains a digit.
const SK: &[u8] = b"sk-";
/// The prefix of a token that names of functions may have too; a token has no further `_`, and has digits or capitals.
const HF: &[u8] = b"hf_";
/// URLs of webhooks. The rest of such a URL permits writing.
const WEBHOOKS: [&[u8]; 6] = [
    b"hooks.slack.com/services/",
    b"hooks.slack.com/workflows/",
    b"hooks.slack.com/triggers/",
    b"discord.com/api/webhooks/",
    b"discordapp.com/api/webhooks/",
    b"api.telegram.org/bot",
];
const BEARER: &[u8] = b"bearer ";
const BASIC: &[u8] = b"basic ";
/// The number of bytes that decide whether a word is a secret.
const MAX_TOKEN_PREFIX_BYTES: usize = 64;

/// The secret that begins at `at`, or after the word at `at`.
pub(super) fn standalone(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    if !matches!(
        bytes[at],
        b'A' | b'B'
            | b'S'
            | b'a'
            | b'b'
            | b'd'
            | b'e'
            | b'g'
            | b'h'
            | b'n'
            | b'p'
            | b'r'
            | b's'
            | b'w'
            | b'x'
    ) || (at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_'))
    {
        return None;
    }
    let rest = &bytes[at..];
    if matches!(rest[0], b'B' | b'b') {
        let scheme = scheme(rest);
        return (scheme > 0 && is_shown(&rest[..scheme], &rest[scheme..]))
            .then(|| at + scheme..at + scheme + credentials(&rest[scheme..], usize::MAX));
    }
    if let Some(before) = WEBHOOKS.iter().find(|before| rest.starts_with(before)) {
        let ends = |byte: &u8| byte.is_ascii_whitespace() || is_quote(*byte) || matches!(byte, b'<' | b'>');
        let start = at + before.len();
        return Some(start..bytes[start..].iter().position(ends).map_or(bytes.len(), |end| start + end));
    }
    let (before, least) = TOKENS.iter().find(|(before, _)| rest.starts_with(before))?;
    let token = &rest[before.len()..];
    let prefix = &token[..credentials(token, MAX_TOKEN_PREFIX_BYTES)];
    let has = |is: fn(&u8) -> bool| prefix.iter().any(is);
    let has_form = match *before {
        SK => has(u8::is_ascii_digit),
        HF => !has(|byte| !byte.is_ascii_alphanumeric()) && has(|byte| !byte.is_ascii_lowercase()),
        _ => true,
    };
    let is_one = prefix.len() >= *least && has_form;
    // The end of the whole token, which may be part of a path and contains no `/`.
    let end = || token.iter().position(|byte| !is_of_token(*byte)).unwrap_or(token.len());
    is_one.then(|| at..at + before.len() + end())
}

/// The length of an authentication scheme and the blank after it; 0 without a scheme.
pub(super) fn scheme(rest: &[u8]) -> usize {
    let begins = |word: &&[u8]| rest.get(..word.len()).is_some_and(|said| said.eq_ignore_ascii_case(word));
    [BEARER, BASIC].iter().find(|word| begins(word)).map_or(0, |word| word.len())
}

/// Whether the word after a scheme is a credential, and not a word of a sentence.
fn is_shown(scheme: &[u8], rest: &[u8]) -> bool {
    let word = &rest[..credentials(rest, MAX_TOKEN_PREFIX_BYTES)];
    let digit = word.iter().any(u8::is_ascii_digit);
    let upper = word.iter().skip(1).any(u8::is_ascii_uppercase);
    let lower = word.iter().any(u8::is_ascii_lowercase);
    match scheme.len() == BASIC.len() {
        true => word.len() >= 8 && upper && lower && (digit || word.ends_with(b"=")),
        false => digit || upper || (word.len() >= 16 && word.iter().all(u8::is_ascii_alphanumeric)),
    }
}

/// The length of the credentials, at most `most`.
fn credentials(rest: &[u8], most: usize) -> usize {
    let is_of_it = |byte: u8| is_of_token(byte) || matches!(byte, b'~' | b'+' | b'/' | b'=');
    rest.iter().take(most).position(|byte| !is_of_it(*byte)).unwrap_or(rest.len().min(most))
}

fn is_of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.')
}

/// A private key between its two marker lines; without the second line, up to the end of the text.
pub(super) fn pem(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    let head = bytes[at..].strip_prefix(b"-----BEGIN ")?;
    let head = &head[..head.len().min(MAX_TOKEN_PREFIX_BYTES)];
    let kind = &head[..find(head, b"-----")?];
    find(kind, b"PRIVATE KEY")?;
    let start = at + b"-----BEGIN ".len() + kind.len() + b"-----".len();
    Some(start..find(&bytes[start..], b"-----END").map_or(bytes.len(), |end| start + end))
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

pub(super) fn is_quote(byte: u8) -> bool {
    matches!(byte, b'"' | b'\'' | b'`')
}
