//! The commands, one file each, and what their signatures have in common.

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
use nu_plugin::PluginCommand;
use nu_protocol::{Category, Signature, SyntaxShape, Type};

/// Every command of the plugin.
pub(crate) fn all() -> Vec<Box<dyn PluginCommand<Plugin = ServicePlugin>>> {
    vec![
        Box::new(service::Service),
        Box::new(init::Init),
        Box::new(check::Check),
        Box::new(list::List),
        Box::new(order::Order),
        Box::new(graph::Graph),
        Box::new(start::Start),
        Box::new(stop::Stop),
        Box::new(restart::Restart),
        Box::new(run::Run),
        Box::new(add::Add),
        Box::new(remove::Remove),
        Box::new(status::Status),
        Box::new(wait::Wait),
        Box::new(why::Why),
        Box::new(health::Health),
        Box::new(logs::Logs),
        Box::new(events::Events),
        Box::new(history::History),
        Box::new(plan::Plan),
        Box::new(apply::Apply),
        Box::new(managers::Managers),
        Box::new(projects::Projects),
        Box::new(daemon_status::DaemonStatus),
        Box::new(daemon_restart::DaemonRestart),
        Box::new(daemon_stop::DaemonStop),
        Box::new(enable::Enable),
        Box::new(disable::Disable),
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

fn category() -> Category {
    Category::Custom("service".into())
}

#[cfg(test)]
mod tests;
