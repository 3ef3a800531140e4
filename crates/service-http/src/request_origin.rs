//! [`Actor`]: the origin of a request, as text for the journal. On the Unix socket the kernel identifies it, and over
//! TCP the token.

use super::connections::AcceptedConnection;
use super::peer::Peer;
use super::tokens::Role;
use axum::Extension;
use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use nix::unistd::{User, geteuid};
use service_api::routes;
use service_core::Moment;
use service_host::clock;
use service_host::procfs;
use std::convert::Infallible;
use std::sync::OnceLock;
use std::time::Duration;
use tokio::sync::watch;

/// The maximum length of a program's name; the kernel retains 15 characters.
const MAX_NAME_CHARS: usize = 32;
/// The time limit for the lookup of the daemon's user.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(1);
/// The name of the plugin, as the kernel truncates it. The parent process of the plugin is the shell.
const PLUGIN: &str = "nu_plugin_servi";

/// A description whose first word is the kind: `user`, `hook` or `token`.
pub(super) struct Actor(pub(super) String);

impl Actor {
    /// Describes the origin. `own` is the name of the daemon's user.
    fn new(peer: Peer, role: Option<Role>, headers: &HeaderMap, own: Option<String>) -> Self {
        Self(match peer {
            Peer::Local { uid, pid } => {
                let hook = headers.get(routes::CALLER).is_some_and(|caller| caller == "hook");
                let process = pid.map(|pid| format!(", {}", describe_process(pid))).unwrap_or_default();
                let kind = if hook { "hook of user" } else { "user" };
                format!("{kind} {} (uid {uid}{process})", user_name(uid, own))
            }
            Peer::Remote(at) => format!("token {} ({at})", role.map_or("of nobody", Role::as_str)),
            Peer::Unknown => "user unknown".to_owned(),
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Actor {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let peer = Extension::<AcceptedConnection>::from_request_parts(parts, state).await;
        let peer = peer.map_or(Peer::Unknown, |Extension(accepted)| accepted.peer);
        let own = match peer {
            Peer::Local { uid, .. } if uid != 0 && uid == geteuid().as_raw() => own_name().await,
            _ => None,
        };
        Ok(Self::new(peer, parts.extensions.get::<Role>().copied(), &parts.headers, own))
    }
}

/// The name of a user. Only root and the daemon's user may connect, so no other name is looked up.
fn user_name(uid: u32, own: Option<String>) -> String {
    let name = if uid == 0 { Some("root".to_owned()) } else { own };
    name.unwrap_or_else(|| uid.to_string())
}

/// The name of the daemon's user. The name is looked up only once, because the C library may wait for a server.
async fn own_name() -> Option<String> {
    static OWN: OnceLock<BlockingLookup> = OnceLock::new();
    let look_up = || User::from_uid(geteuid()).ok().flatten().map(|user| user.name);
    OWN.get_or_init(|| BlockingLookup::start(look_up)).answer(LOOKUP_TIMEOUT).await
}

/// The state of a lookup.
#[derive(Debug, Clone)]
enum LookupState {
    Pending,
    Known(Option<String>),
}

/// A lookup on its own thread.
struct BlockingLookup {
    started: Moment,
    answer: watch::Receiver<LookupState>,
}

impl BlockingLookup {
    fn start(look_up: impl FnOnce() -> Option<String> + Send + 'static) -> Self {
        let (sender, answer) = watch::channel(LookupState::Pending);
        let find = move || drop(sender.send(LookupState::Known(look_up())));
        if let Err(error) = std::thread::Builder::new().name("user".to_owned()).spawn(find) {
            tracing::warn!(%error, "cannot look up the name of the daemon's user");
        }
        Self { started: clock::now(), answer }
    }

    /// The result; `None` if the lookup has not ended within `limit` after its start.
    async fn answer(&self, limit: Duration) -> Option<String> {
        let left = limit.saturating_sub(clock::now().since(self.started));
        let mut answer = self.answer.clone();
        let is_known = |answer: &LookupState| matches!(answer, LookupState::Known(_));
        match &*tokio::time::timeout(left, answer.wait_for(is_known)).await.ok()?.ok()? {
            LookupState::Known(name) => name.clone(),
            LookupState::Pending => None,
        }
    }
}

/// The pid and the name of a process; for the plugin, of its shell.
fn describe_process(pid: u32) -> String {
    let (pid, program) = match process_name(pid) {
        Some(name) if name == PLUGIN => {
            procfs::parent(pid).map(|shell| (shell, process_name(shell))).unwrap_or((pid, Some(name)))
        }
        name => (pid, name),
    };
    program.map_or_else(|| format!("pid {pid}"), |program| format!("pid {pid}, {program}"))
}

/// The name of a process, which may contain any character. Control characters and delimiters are replaced.
fn process_name(pid: u32) -> Option<String> {
    let name = procfs::process_name(pid)?;
    let seen = name.chars().map(|c| if c.is_control() || "(),`".contains(c) { '?' } else { c });
    Some(seen.take(MAX_NAME_CHARS).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_has_kind_number_and_program() {
        let pid = std::process::id();
        let uid = geteuid().as_raw();
        let Actor(by) = Actor::new(Peer::Local { uid, pid: Some(pid) }, None, &HeaderMap::new(), None);
        assert!(by.starts_with("user ") && by.contains(&format!("(uid {uid}, pid {pid}, ")), "{by}");
        let hook = HeaderMap::from_iter([(routes::CALLER.parse().unwrap(), "hook".parse().unwrap())]);
        let Actor(by) = Actor::new(Peer::Local { uid, pid: None }, None, &hook, None);
        assert!(by.starts_with("hook of user ") && by.ends_with(&format!("(uid {uid})")), "{by}");
        let at = "127.0.0.1:7".parse().unwrap();
        let Actor(by) = Actor::new(Peer::Remote(at), Some(Role::Admin), &hook, None);
        assert_eq!(by, "token admin (127.0.0.1:7)");
    }

    #[tokio::test]
    async fn a_look_up_that_hangs_holds_nobody_up() {
        let (end, ends) = std::sync::mpsc::channel::<()>();
        let hangs = BlockingLookup::start(move || ends.recv().err().map(|_| "late".to_owned()));
        assert_eq!(hangs.answer(Duration::from_millis(20)).await, None);
        let limit = Duration::from_mins(1);
        drop(end);
        assert_eq!(hangs.answer(limit).await.as_deref(), Some("late"), "a later request has it");
        let names = [(4711, hangs.answer(limit).await), (4711, None), (0, None)];
        assert_eq!(names.map(|(uid, own)| user_name(uid, own)), ["late", "4711", "root"]);
    }
}
