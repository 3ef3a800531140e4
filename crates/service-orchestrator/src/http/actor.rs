//! [`Actor`]: who asks, in words for the journal. On the Unix socket the kernel says it, over TCP the token.

use super::connections::Arrival;
use super::peer::Peer;
use super::tokens::Role;
use axum::Extension;
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use nix::unistd::{Uid, User, geteuid};
use service_api::routes;
use std::convert::Infallible;
use std::sync::OnceLock;

/// A program's name is told up to so many characters; the kernel keeps 15.
const MOST: usize = 32;
/// The plugin, as far as the kernel keeps its name: the shell that it serves is its parent.
const PLUGIN: &str = "nu_plugin_servi";

/// Who asks, in words; the first one is the kind: `user`, `hook` or `token`.
pub(super) struct Actor(pub(super) String);

impl Actor {
    fn of(peer: Peer, role: Option<Role>, headers: &HeaderMap) -> Self {
        Self(match peer {
            Peer::Local { uid, pid } => {
                let hook = headers.get(routes::CALLER).is_some_and(|caller| caller == "hook");
                let process = pid.map(|pid| format!(", {}", process(pid))).unwrap_or_default();
                let of = if hook { "hook of user" } else { "user" };
                format!("{of} {} (uid {uid}{process})", user(uid))
            }
            Peer::Remote(at) => format!("token {} ({at})", role.map_or("of nobody", Role::word)),
            Peer::Unknown => "user unknown".to_owned(),
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Actor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let peer = Extension::<Arrival>::from_request_parts(parts, state).await;
        let peer = peer.map_or(Peer::Unknown, |Extension(arrival)| arrival.peer);
        Ok(Self::of(peer, parts.extensions.get::<Role>().copied(), &parts.headers))
    }
}

/// Only root and we ourselves may connect, so nobody else's name is looked up.
fn user(uid: u32) -> String {
    static OURS: OnceLock<Option<String>> = OnceLock::new();
    let name = |uid| User::from_uid(uid).ok().flatten().map(|user| user.name);
    match uid {
        0 => Some("root".to_owned()),
        uid if uid == geteuid().as_raw() => OURS.get_or_init(|| name(Uid::from_raw(uid))).clone(),
        _ => None,
    }
    .unwrap_or_else(|| uid.to_string())
}

/// Its number and name; those of the shell, where it is our plugin.
fn process(pid: u32) -> String {
    let (pid, program) = match program(pid) {
        Some(name) if name == PLUGIN => {
            parent(pid).map(|shell| (shell, program(shell))).unwrap_or((pid, Some(name)))
        }
        name => (pid, name),
    };
    program.map_or_else(|| format!("pid {pid}"), |program| format!("pid {pid}, {program}"))
}

/// A program may call itself as it likes: nothing but letters that can be seen is taken over.
fn program(pid: u32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    let seen = name.trim_end().chars().map(|c| if c.is_control() || "(),`".contains(c) { '?' } else { c });
    Some(seen.take(MOST).collect())
}

fn parent(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_told_with_kind_number_and_program() {
        let pid = std::process::id();
        let uid = geteuid().as_raw();
        let Actor(by) = Actor::of(Peer::Local { uid, pid: Some(pid) }, None, &HeaderMap::new());
        assert!(by.starts_with("user ") && by.contains(&format!("(uid {uid}, pid {pid}, ")), "{by}");
        let hook = HeaderMap::from_iter([(routes::CALLER.parse().unwrap(), "hook".parse().unwrap())]);
        let Actor(by) = Actor::of(Peer::Local { uid, pid: None }, None, &hook);
        assert!(by.starts_with("hook of user ") && by.ends_with(&format!("(uid {uid})")), "{by}");
        let at = "127.0.0.1:7".parse().unwrap();
        let Actor(by) = Actor::of(Peer::Remote(at), Some(Role::Admin), &hook);
        assert_eq!(by, "token admin (127.0.0.1:7)");
    }
}
