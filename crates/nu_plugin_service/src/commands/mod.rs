//! The commands, one file each, and what their signatures have in common.

mod across;
mod add;
mod apply;
mod check;
mod daemon_restart;
mod daemon_status;
mod daemon_stop;
mod disable;
mod enable;
mod events;
mod graph;
mod health;
mod history;
mod init;
mod list;
mod logs;
mod managers;
mod names;
mod order;
mod plan;
mod projects;
mod reading;
mod remove;
mod restart;
mod run;
mod service;
mod start;
mod status;
mod stop;
mod verb;
mod verdict;
mod wait;
mod why;

use crate::ServicePlugin;
use crate::shown::Shown;
use across::Across;
use nu_plugin::PluginCommand;
use nu_protocol::{Category, Signature, SyntaxShape, Type};

/// Every command of the plugin.
pub(crate) fn all() -> Vec<Box<dyn PluginCommand<Plugin = ServicePlugin>>> {
    vec![
        Box::new(Shown(service::Service)),
        Box::new(Shown(init::Init)),
        Box::new(Shown(check::Check)),
        Box::new(Shown(Across(list::List))),
        Box::new(Shown(order::Order)),
        Box::new(Shown(graph::Graph)),
        Box::new(Shown(Across(start::Start))),
        Box::new(Shown(Across(stop::Stop))),
        Box::new(Shown(Across(restart::Restart))),
        Box::new(Shown(run::Run)),
        Box::new(Shown(add::Add)),
        Box::new(Shown(remove::Remove)),
        Box::new(Shown(Across(status::Status))),
        Box::new(Shown(wait::Wait)),
        Box::new(Shown(Across(why::Why))),
        Box::new(Shown(Across(health::Health))),
        Box::new(Shown(Across(logs::Logs))),
        Box::new(Shown(Across(events::Events))),
        Box::new(Shown(Across(history::History))),
        Box::new(Shown(plan::Plan)),
        Box::new(Shown(apply::Apply)),
        Box::new(Shown(managers::Managers)),
        Box::new(Shown(projects::Projects)),
        Box::new(Shown(Across(daemon_status::DaemonStatus))),
        Box::new(Shown(Across(daemon_restart::DaemonRestart))),
        Box::new(Shown(Across(daemon_stop::DaemonStop))),
        Box::new(Shown(enable::Enable)),
        Box::new(Shown(disable::Disable)),
    ]
}

/// A command of ours, about one project.
fn signature(name: &str) -> Signature {
    Signature::build(name).category(category()).named(
        "config",
        SyntaxShape::Filepath,
        "The services.toml to use (default: $env.SERVICES_CONFIG, else the nearest one upward)",
        Some('c'),
    )
}

/// A command about services that are named or piped in.
fn selecting(name: &str, output: &Type) -> Signature {
    signature(name)
        .rest("names", SyntaxShape::String, "The services; or pipe in names, or rows with a `name` column")
        .input_output_types(inputs().map(|input| (input, output.clone())).collect())
}

/// What services may be piped in as. Anything else is taken too: the item of a closure, which names none, comes this way.
fn inputs() -> impl Iterator<Item = Type> {
    let named = [Type::Nothing, Type::String, Type::list(Type::String), Type::record(), Type::table()];
    named.into_iter().chain([Type::Any])
}

/// A command about the daemon of a project, or of those whose rows of `service projects` are piped in.
fn about_daemon(name: &str) -> Signature {
    signature(name).input_output_types(vec![
        (Type::Nothing, Type::record()),
        (Type::record(), Type::record()),
        (Type::table(), Type::table()),
        (Type::Any, Type::Any),
    ])
}

fn category() -> Category {
    Category::Custom("service".into())
}

#[cfg(test)]
mod tests;
