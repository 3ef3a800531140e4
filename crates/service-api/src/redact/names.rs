//! Recognizes names of secrets.

/// Words that occur in names of secrets.
const SECRET: [&str; 36] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pass",
    "pwd",
    "psw",
    "pw",
    "secret",
    "secrets",
    "token",
    "tokens",
    "key",
    "keys",
    "apikey",
    "credential",
    "credentials",
    "cred",
    "creds",
    "dsn",
    "auth",
    "authorization",
    "masterauth",
    "bearer",
    "jwt",
    "cookie",
    "pat",
    "otp",
    "totp",
    "hotp",
    "psk",
    "pin",
    "hmac",
    "signature",
    "connstr",
    "passin",
];
/// Parts of names of secrets, also within a longer word or across several words.
const INFIXES: [&str; 17] = [
    "password",
    "passwd",
    "passphrase",
    "passkey",
    "secret",
    "token",
    "credential",
    "apikey",
    "privatekey",
    "accesskey",
    "authkey",
    "accesscode",
    "pincode",
    "connectionstring",
    "connstring",
    "jwt",
    "hmac",
];
/// Endings of names of secrets, such as `DBPW`.
const ENDS: [&str; 4] = ["pass", "pwd", "psw", "pw"];
/// Ordinary words with such an ending.
const HARMLESS: [&str; 9] =
    ["bypass", "compass", "encompass", "multipass", "overpass", "oldpwd", "surpass", "trespass", "underpass"];
/// Names of secrets in spite of an ending in [`ABOUT`].
const IDS: [&str; 3] = ["secretid", "sessionid", "sessid"];
/// Endings of names for the location or a property of a secret.
const ABOUT: [&str; 14] = [
    "file",
    "files",
    "path",
    "dir",
    "directory",
    "id",
    "name",
    "type",
    "ttl",
    "size",
    "length",
    "count",
    "timeout",
    "algorithm",
];
/// Parameters of a URL that make the URL itself a credential.
const IN_QUERY: [&str; 1] = ["sig"];
/// Ordinary words that name a secret even in front of a colon.
const PLAIN: [&str; 7] =
    ["password", "passwd", "passphrase", "passkey", "secret", "credential", "credentials"];

/// Whether the value of a key, a variable or an option with this name is a secret.
pub fn is_secret(name: &str) -> bool {
    let words = words(name);
    let Some(last) = words.last() else { return false };
    let whole = words.concat();
    if IDS.iter().any(|id| whole.ends_with(id)) {
        return true;
    }
    // `PWD` is the current directory of a shell.
    if ABOUT.contains(&last.as_str()) || name == "PWD" || name == "OLDPWD" {
        return false;
    }
    let is_one = |word: &String| {
        let ends = || ENDS.iter().any(|end| word.ends_with(end)) && !HARMLESS.contains(&word.as_str());
        SECRET.contains(&word.as_str()) || ends()
    };
    words.iter().any(is_one) || INFIXES.iter().any(|word| whole.contains(word))
}

/// Whether a parameter of this name turns a URL into a credential.
pub(super) fn is_secret_in_a_query(name: &str) -> bool {
    IN_QUERY.contains(&name.to_ascii_lowercase().as_str())
}

/// Whether this lower-case word names a secret even in front of a colon.
pub(super) fn is_plain(word: &str) -> bool {
    PLAIN.contains(&word)
}

/// The words of `DB_PASSWORD`, `api-key`, `accessToken`, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for character in name.chars() {
        let begins = character.is_ascii_uppercase() && was_lower;
        if begins || !character.is_ascii_alphanumeric() {
            words.push(String::new());
        }
        if let (true, Some(word)) = (character.is_ascii_alphanumeric(), words.last_mut()) {
            word.push(character.to_ascii_lowercase());
        }
        was_lower = character.is_ascii_lowercase() || character.is_ascii_digit();
    }
    words.retain(|word| !word.is_empty());
    words
}
