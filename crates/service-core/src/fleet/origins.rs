//! The origins of requests: the named service that includes another one, and requests because of a lost dependency.

use super::{Asking, Fleet};
use crate::config::WhenLost;
use crate::plan::Id;
use crate::service::{Goal, RequestOrigin, Requester, StartedBy};
use alloc::collections::BTreeMap;

impl Fleet {
    /// Sets the requester of the following request.
    pub fn set_requester(&mut self, requester: Requester) {
        self.asking = Asking { requester: Some(requester), named: BTreeMap::new() };
    }

    /// Determines which service of `named` includes each service of `wanted`, with one walk along the graph in each
    /// direction.
    pub(super) fn trace(&mut self, named: &[Id], wanted: &[Id]) {
        if self.asking.requester.is_none() {
            return;
        }
        let mut known: BTreeMap<Id, Id> = named.iter().map(|id| (*id, *id)).collect();
        for id in wanted {
            let above = self.plan.dependencies(*id).iter().find_map(|need| known.get(&need.on).copied());
            above.map(|named| *known.entry(*id).or_insert(named));
        }
        for id in wanted.iter().rev() {
            let below = self.plan.dependents(*id).iter().find_map(|dependent| known.get(dependent).copied());
            below.map(|named| *known.entry(*id).or_insert(named));
        }
        self.asking.named = known;
    }

    pub(super) fn record_requester(&mut self, id: Id, goal: Goal) {
        let Some(requester) = self.asking.requester.clone() else { return };
        let named = self.asking.named.get(&id).filter(|named| **named != id);
        let with = named.map(|named| self.plan.service(*named).name.clone());
        self.machines[id.index()].asked(goal, RequestOrigin { requester, with });
    }

    /// Applies the policy of a service that has lost a dependency.
    pub(super) fn apply_lost_dependencies(&mut self, id: Id) {
        let machine = self.machine(id);
        // An external start ignores dependencies.
        let is_ours = machine.starter() == StartedBy::Orchestrator;
        if machine.goal() != Goal::Up || !machine.state().is_active() || !is_ours {
            return;
        }
        let lost = self.plan.dependencies(id).iter().filter(|need| self.is_lost(**need));
        // A stop takes precedence over a restart.
        let Some(lost) = lost.max_by_key(|need| need.when_lost as u8).copied() else { return };
        match lost.when_lost {
            WhenLost::Restart => self.lose(id, Goal::Restart, lost.on),
            WhenLost::Stop => self.lose(id, Goal::Down, lost.on),
            WhenLost::Keep => {}
        }
    }

    /// Sets the goal that the policy requires for a lost dependency.
    fn lose(&mut self, id: Id, goal: Goal, need: Id) {
        let asked = RequestOrigin::lost(&self.plan.service(need).name);
        self.machines[id.index()].asked(goal, asked);
        self.machines[id.index()].set_goal(goal);
        self.mark_dirty(id);
    }
}
