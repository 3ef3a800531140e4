//! The commands, one file each.

mod across;
mod action;
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
mod signature;
mod start;
mod status;
mod stop;
mod verb;
mod verdict;
mod wait;
mod why;

use crate::plugin::ServicePlugin;
use crate::shown::Shown;
use across::Across;
use nu_plugin::PluginCommand;

/// Every command of the plugin.
pub(crate) fn all() -> Vec<Box<dyn PluginCommand<Plugin = ServicePlugin>>> {
    let mut commands: Vec<Box<dyn PluginCommand<Plugin = ServicePlugin>>> = vec![
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
    ];
    let names = commands.iter().map(|command| PluginCommand::name(&**command).to_owned()).collect();
    commands.insert(0, Box::new(Shown(service::Service { commands: names })));
    commands
}

#[cfg(test)]
mod tests;
