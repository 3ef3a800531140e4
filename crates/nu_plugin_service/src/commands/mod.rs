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
        Box::new(Printable(init::InitCommand)),
        Box::new(Printable(check::CheckCommand)),
        Box::new(Printable(Across(list::ListCommand))),
        Box::new(Printable(order::OrderCommand)),
        Box::new(Printable(graph::GraphCommand)),
        Box::new(Printable(Across(start::StartCommand))),
        Box::new(Printable(Across(stop::StopCommand))),
        Box::new(Printable(Across(restart::RestartCommand))),
        Box::new(Printable(run::RunCommand)),
        Box::new(Printable(add::AddCommand)),
        Box::new(Printable(remove::RemoveCommand)),
        Box::new(Printable(Across(status::StatusCommand))),
        Box::new(Printable(wait::WaitCommand)),
        Box::new(Printable(Across(why::WhyCommand))),
        Box::new(Printable(Across(health::HealthCommand))),
        Box::new(Printable(Across(logs::LogsCommand))),
        Box::new(Printable(Across(events::EventsCommand))),
        Box::new(Printable(Across(history::HistoryCommand))),
        Box::new(Printable(plan::PlanCommand)),
        Box::new(Printable(apply::ApplyCommand)),
        Box::new(Printable(managers::ManagersCommand)),
        Box::new(Printable(projects::ProjectsCommand)),
        Box::new(Printable(Across(daemon_status::DaemonStatusCommand))),
        Box::new(Printable(Across(daemon_restart::DaemonRestartCommand))),
        Box::new(Printable(Across(daemon_stop::DaemonStopCommand))),
        Box::new(Printable(enable::EnableCommand)),
        Box::new(Printable(disable::DisableCommand)),
    ];
    let names = commands.iter().map(|command| PluginCommand::name(&**command).to_owned()).collect();
    commands.insert(0, Box::new(Printable(service::ServiceCommand { commands: names })));
    commands
}

#[cfg(test)]
mod tests;
