//! One observation about a pod that is tracked, ignored, or new.

use jiff::Timestamp;
use jobmeter_protocol::{ApiPod, Stage};

use super::{
    Books, Entry, Forgotten, Idle, Ignored, NotAJob, Observation, Step, Verdict,
    facts::Change,
    pod::{Job, Pod},
};
use crate::metered::Metered;

impl Books {
    pub(super) fn observe_new(&mut self, uid: &str, observation: Observation, now: Timestamp) -> Vec<Step> {
        if let Some(why) = self.no_reason_to_track(uid, &observation) {
            return vec![Step::Idle(why)];
        }
        if let Observation::Api(api) = &observation
            && let Some(why) = self.not_a_job(api)
        {
            self.pods.insert(uid.to_owned(), Entry::Ignored(Ignored::new(api, false, why)));
            return vec![Step::Idle(Idle::NotAJob(why))];
        }
        let pod = Box::new(Pod::new(uid, &self.options.node, now));
        self.observe_tracked(pod, observation, now)
    }

    fn no_reason_to_track(&self, uid: &str, observation: &Observation) -> Option<Idle> {
        match observation {
            Observation::Appeared { segment, .. } | Observation::Looked { segment, .. } => {
                self.settled.contains_segment(uid, segment).then_some(Idle::Settled)
            }
            // The coordinator may have lost what it acknowledged; then it must hear that it is lost here, too.
            Observation::Wanted | Observation::Meter => None,
            _ if self.settled.contains(uid) => Some(Idle::Settled),
            Observation::Sampled(_)
            | Observation::Acked { .. }
            | Observation::Identified(_)
            | Observation::Malformed { .. }
            | Observation::NotThere
            | Observation::ApiGone
            | Observation::FinalAsked => Some(Idle::UnknownPod),
            _ => None,
        }
    }

    pub(super) fn observe_ignored(&mut self, uid: &str, ignored: Ignored, observation: Observation, now: Timestamp) -> Vec<Step> {
        let followed_before = !ignored.kernel;
        let mut next = ignored;
        match observation {
            Observation::Api(api) => match self.not_a_job(&api) {
                Some(why) => next = Ignored::new(&api, next.kernel, why),
                None => return self.take_up(uid, next, Observation::Api(api), now),
            },
            Observation::Wanted | Observation::Meter => return self.take_up(uid, next, observation, now),
            Observation::ApiGone => next.api = false,
            Observation::Gone { .. } | Observation::NotThere => next.kernel = false,
            Observation::Appeared { .. } | Observation::Looked { .. } => next.kernel = true,
            _ => {}
        }
        let (kernel, why) = (next.kernel, next.why);
        if next.api || kernel {
            self.pods.insert(uid.to_owned(), Entry::Ignored(next));
        }
        if kernel && followed_before {
            return vec![Step::Follow { pod_uid: uid.to_owned(), on: false }];
        }
        vec![Step::Idle(Idle::NotAJob(why))]
    }

    /// It is a job after all. Counters are cumulative: what was not looked at is not lost.
    fn take_up(&mut self, uid: &str, ignored: Ignored, observation: Observation, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        if ignored.kernel {
            steps.push(Step::Follow { pod_uid: uid.to_owned(), on: true });
        }
        if !matches!(observation, Observation::Wanted | Observation::Meter) {
            steps.push(Step::ReadPod(uid.to_owned()));
        }
        let mut pod = Box::new(Pod::new(uid, &self.options.node, now));
        pod.api = ignored.maybe.map(|api| *api);
        steps.extend(self.observe_tracked(pod, observation, now));
        steps
    }

    pub(super) fn observe_tracked(&mut self, mut pod: Box<Pod>, observation: Observation, now: Timestamp) -> Vec<Step> {
        let mut steps = Vec::new();
        let mut idle = Idle::Known;
        match &observation {
            Observation::Api(api) if !pod.claimed => match self.not_a_job(api) {
                // An earlier life of this agent may have kept it because the coordinator had named it: let that one decide.
                Some(NotAJob::Owners) if pod.restored && pod.has_evidence() => pod.claimed = true,
                Some(why) => return self.drop_pod(&pod, Some(api), why),
                None => pod.job = Job::Yes,
            },
            Observation::Identified(Some(identity)) if !self.options.scope.covers(&identity.namespace) => {
                return self.drop_pod(&pod, None, NotAJob::Scope("namespace"));
            }
            Observation::Wanted if pod.has_evidence() => {
                // Asked for by name: send it even if it was sent before.
                pod.queued = pod.acked;
                pod.revision += 1;
            }
            Observation::NotThere if pod.wanted && !pod.has_evidence() => {
                steps.push(Step::SayUnknown(pod.uid.clone()));
                pod.wanted = false;
            }
            Observation::Acked { revision, verdict } => {
                if *revision >= pod.revision && pod.has_ended() {
                    let why = if *verdict == Verdict::Kept { Forgotten::Acknowledged } else { Forgotten::Rejected };
                    return self.close(&pod, why);
                }
                idle = if *revision < pod.revision { Idle::StillDue } else { Idle::NothingDue };
            }
            _ => {}
        }
        // The coordinator names a pod in each of its answers until it has heard of it.
        let wanted_now = match observation {
            Observation::Wanted => true,
            Observation::Meter => !pod.claimed,
            _ => false,
        };
        if wanted_now && !pod.has_ended() {
            steps.push(Step::ReadPod(pod.uid.clone()));
        }
        let change = pod.learn(observation, &self.options, now);
        if pod.note(change, &self.options, now) == Change::Minor {
            idle = Idle::Noted;
        }
        steps.extend(pod.react(&self.options, now));
        let keep = pod.has_evidence() || pod.looking || pod.unplaced.is_some() || (pod.api.is_some() && pod.api_gone.is_none());
        if keep {
            self.pods.insert(pod.uid.clone(), Entry::Tracked(pod));
        }
        if steps.is_empty() {
            steps.push(Step::Idle(idle));
        }
        steps
    }

    pub(super) fn not_a_job(&self, api: &ApiPod) -> Option<NotAJob> {
        match self.options.scope.judge(api, None) {
            Metered::No(why) => Some(why.into()),
            Metered::AskOwners { meanwhile: false } => Some(NotAJob::Owners),
            Metered::Yes(_) | Metered::AskOwners { meanwhile: true } => None,
        }
    }

    /// It was followed while nobody knew what it was.
    fn drop_pod(&mut self, pod: &Pod, api: Option<&ApiPod>, why: NotAJob) -> Vec<Step> {
        let kernel = pod.is_in_kernel();
        let uid = || pod.uid.clone();
        let nameless = Ignored { api: false, kernel, why, maybe: None };
        let ignored = api.map_or(nameless, |api| Ignored::new(api, kernel, why));
        if ignored.api || ignored.kernel {
            self.pods.insert(uid(), Entry::Ignored(ignored));
        }
        let mut steps = Vec::new();
        if kernel {
            steps.push(Step::Follow { pod_uid: uid(), on: false });
        }
        if pod.sampling {
            steps.push(Step::Sample { pod_uid: uid(), on: false });
        }
        if pod.journaled.is_some() {
            steps.push(Step::Forget { pod_uid: uid(), why: Forgotten::NotAJob });
        }
        steps.push(Step::Idle(Idle::NotAJob(why)));
        steps
    }

    /// The pod is out of `pods` already, or is taken out here.
    pub(super) fn close(&mut self, pod: &Pod, why: Forgotten) -> Vec<Step> {
        self.pods.remove(&pod.uid);
        self.settled.add(&pod.uid, pod.evidence.segments.iter().map(|segment| segment.id.clone()).collect());
        let mut steps = Vec::new();
        if pod.sampling {
            steps.push(Step::Sample { pod_uid: pod.uid.clone(), on: false });
        }
        debug_assert!(pod.stage(&self.options) == Stage::Final);
        steps.push(Step::Forget { pod_uid: pod.uid.clone(), why });
        steps
    }
}

impl Ignored {
    fn new(api: &ApiPod, kernel: bool, why: NotAJob) -> Self {
        Self { api: true, kernel, why, maybe: (why == NotAJob::Owners).then(|| Box::new(api.clone())) }
    }
}
