//! [`Inbox`]: the input of the engine. Reports of drivers come before commands of handles.

use super::message::EngineCommand;
use service_core::Moment;
use service_host::clock;
use service_host::report::RunReport;
use tokio::sync::mpsc::UnboundedReceiver;

/// After this many reports in a row, one command is handled, so that a noisy service cannot starve requests.
const MAX_REPORTS_IN_A_ROW: usize = 256;

/// The two channels.
pub(crate) struct Inbox {
    reports: UnboundedReceiver<RunReport>,
    commands: UnboundedReceiver<EngineCommand>,
    /// The number of reports since the last command or pause.
    in_a_row: usize,
}

/// One input.
pub(super) enum Input {
    Report(RunReport),
    Command(EngineCommand),
    /// The deadline has passed.
    Deadline,
}

impl Inbox {
    pub(crate) fn new(
        reports: UnboundedReceiver<RunReport>,
        commands: UnboundedReceiver<EngineCommand>,
    ) -> Self {
        Self { reports, commands, in_a_row: 0 }
    }

    /// The next input. After the last handle is dropped, only reports arrive.
    pub(super) async fn next(&mut self, deadline: Option<Moment>) -> Input {
        if self.is_behind() {
            self.in_a_row = 0;
            if let Ok(command) = self.commands.try_recv() {
                return Input::Command(command);
            }
        }
        let input = tokio::select! {
            biased;
            Some(report) = self.reports.recv() => Input::Report(report),
            Some(command) = self.commands.recv() => Input::Command(command),
            () = clock::sleep_until(deadline) => Input::Deadline,
        };
        self.in_a_row = if let Input::Report(_) = input { self.in_a_row + 1 } else { 0 };
        input
    }

    /// Whether a long series of reports has delayed other tasks.
    pub(super) fn is_behind(&self) -> bool {
        self.in_a_row >= MAX_REPORTS_IN_A_ROW
    }

    /// Whether no input waits.
    pub(super) fn is_empty(&self) -> bool {
        self.reports.is_empty() && self.commands.is_empty()
    }

    /// The reports that wait at this moment.
    pub(super) fn drain_reports(&mut self) -> Vec<RunReport> {
        let count = self.reports.len();
        std::iter::from_fn(|| self.reports.try_recv().ok()).take(count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use service_core::Name;
    use service_core::service::Event;
    use service_host::report::ReportSender;
    use tokio::sync::mpsc::unbounded_channel;

    #[tokio::test]
    async fn a_command_is_taken_among_reports_without_end() {
        let (reports, incoming) = ReportSender::channel();
        let (commands, requests) = unbounded_channel();
        let mut inbox = Inbox::new(incoming, requests);
        let name = Name::new("web").unwrap();
        assert!(commands.send(EngineCommand::Accepted).is_ok());
        for taken in 0.. {
            reports.event(&name, 1, Event::Launched);
            reports.event(&name, 1, Event::Launched);
            if let Input::Command(_) = inbox.next(None).await {
                assert_eq!(taken, MAX_REPORTS_IN_A_ROW, "reports come first, up to here");
                break;
            }
        }
        assert_eq!(inbox.drain_reports().len(), MAX_REPORTS_IN_A_ROW + 2);
        assert!(inbox.is_empty());
    }
}
