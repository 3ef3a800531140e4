//! The commands, one file each.

mod across;
mod action;
mod add;
mod apply;
mod check;
mod command_result;
mod completion;
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
mod order;
mod plan;
mod projects;
mod query;
mod remove;
mod restart;
mod run;
mod run_action;
mod service;
mod signature;
mod start;
mod status;
mod stop;
mod wait;
mod why;

use crate::plugin::ServicePlugin;
use crate::printable::Printable;
use across::Across;
use nu_plugin::PluginCommand;

/// Every command of the plugin.
pub(crate) fn all() -> Vec<Box<dyn PluginCommand<Plugin = ServicePlugin>>> {
    let mut commands: Vec<Box<dyn PluginCommand<Plugin = ServicePlugin>>> = vec![
        Box::new(Printable(init::Init)),
        Box::new(Printable(check::Check)),
        Box::new(Printable(Across(list::List))),
        Box::new(Printable(order::Order)),
        Box::new(Printable(graph::Graph)),
        Box::new(Printable(Across(start::Start))),
        Box::new(Printable(Across(stop::Stop))),
        Box::new(Printable(Across(restart::Restart))),
        Box::new(Printable(run::Run)),
        Box::new(Printable(add::Add)),
        Box::new(Printable(remove::Remove)),
        Box::new(Printable(Across(status::Status))),
        Box::new(Printable(wait::Wait)),
        Box::new(Printable(Across(why::Why))),
        Box::new(Printable(Across(health::Health))),
        Box::new(Printable(Across(logs::Logs))),
        Box::new(Printable(Across(events::Events))),
        Box::new(Printable(Across(history::History))),
        Box::new(Printable(plan::Plan)),
        Box::new(Printable(apply::Apply)),
        Box::new(Printable(managers::Managers)),
        Box::new(Printable(projects::Projects)),
        Box::new(Printable(Across(daemon_status::DaemonStatus))),
        Box::new(Printable(Across(daemon_restart::DaemonRestart))),
        Box::new(Printable(Across(daemon_stop::DaemonStop))),
        Box::new(Printable(enable::Enable)),
        Box::new(Printable(disable::Disable)),
    ];
    let names = commands.iter().map(|command| PluginCommand::name(&**command).to_owned()).collect();
    commands.insert(0, Box::new(Printable(service::Service { commands: names })));
    commands
}

#[cfg(test)]
mod tests;
