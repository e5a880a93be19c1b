// One page on which a listener judges: what all methods have in common.

const MIN_HEARD_MS = 500; // a sound counts as played after half a second, or nearly all of a shorter one

/** What a listener has done on a page so far; plain data, so that it can be kept. */
function newTrialState() {
  return { startedAt: new Date().toISOString(), pageMs: 0, plays: {}, heardMs: {}, reach: {}, answers: {} };
}

/** Everything a method needs to draw and to judge a page. */
class Trial {
  constructor(page, method, player, state, changed) {
    Object.assign(this, { page, method, player, state, changed, roles: method.roles(page) });
  }

  /** Give the player this page's sounds. */
  async load() {
    const buffers = {};
    for (const { role, stimulus } of this.roles) buffers[role] = await decode(this.player.context, stimulus);
    this.player.load(buffers, {
      changed: () => this.changed(),
      started: (role) => {
        this.state.plays[role] = (this.state.plays[role] || 0) + 1;
      },
      heard: (role, from, to) => this.heard(role, from, to),
    });
    this.player.setLoop(this.method.loop);
  }

  /** Count what was heard, and how far from the start without a gap. */
  heard(role, from, to) {
    const { heardMs, reach } = this.state;
    heardMs[role] = (heardMs[role] || 0) + 1000 * (to - from);
    if (from <= (reach[role] || 0) + 0.05) reach[role] = Math.max(reach[role] || 0, to);
  }

  /** Of `roles`, those not yet played for long enough. */
  unheard(roles) {
    const needed = Math.min(MIN_HEARD_MS, 900 * this.player.duration);
    return roles.filter(({ role }) => this.heardNow(role) < needed);
  }

  /** Milliseconds heard of a role, with what sounds at this moment. */
  heardNow(role) {
    const now = this.player.role === role ? this.player.unreported() : 0;
    return (this.state.heardMs[role] || 0) + 1000 * now;
  }

  /** The listener answers. */
  answer(name, value) {
    this.state.answers[name] = value;
    this.changed();
  }

  /** What is left to do, in words; empty if the page is complete. */
  missing() {
    return this.method.missing(this).filter(Boolean).join('; ');
  }
}

/** The line that says what the keys do. */
function keyHelp(pairs) {
  const parts = pairs.map(([key, text]) => make('span', {}, keyCap(key), ` ${text}`));
  return make('p', { class: 'keys' }, ...parts);
}

/** The Next button and the line beside it; a first click on an unfinished page says what is missing. */
function nextButton(trial, label, done) {
  const todo = make('p', { class: 'todo', id: 'todo' });
  let advised = false;
  const go = () => {
    const missing = trial.missing();
    const advice = missing || advised ? '' : trial.method.advice(trial);
    if (missing) return announce(`Still to do: ${missing}.`);
    if (!advice) return done();
    advised = true;
    return announce(advice);
  };
  const node = button(label, { id: 'next', class: 'primary', onclick: go });
  const refresh = () => {
    const missing = trial.missing();
    node.setAttribute('aria-disabled', String(Boolean(missing)));
    todo.textContent = missing ? `To do: ${missing}` : '';
  };
  return { node: make('div', { class: 'foot' }, todo, node), refresh, go };
}

/** Put a page on the screen; `done` is called with its state when the listener goes on. */
async function showTrial(player, page, method, { name, heading, nextLabel, state, changed, done }) {
  const parts = [];
  const trial = new Trial(page, method, player, state, () => {
    parts.forEach((part) => part.refresh());
    changed(state);
  });
  await trial.load();
  const first = trial.roles[0].role;
  const controls = transport(player, { first, region: method.region });
  const view = method.view(trial);
  let timer = 0;
  const next = nextButton(trial, nextLabel, once(() => {
    clearInterval(timer);
    player.stop();
    done(state);
  }));
  parts.push(controls, view, next);
  const extra = [page.reference ? ['R', 'reference'] : null, method.region ? ['L', 'loop'] : null].filter(Boolean);
  const help = keyHelp([['Space', 'play, pause'], ...method.keys, ...extra, ['Enter', 'next']]);
  show(name, heading, make('p', { class: 'help' }, method.help), controls.node, view.node, next.node, help);
  const reference = page.reference ? { r: () => player.toggle('reference') } : {};
  setKeys({ ...controls.shortcuts, ...reference, ...view.shortcuts, enter: next.go });
  parts.forEach((part) => part.refresh());
  // Four times a second: time on the page while it is visible, and whether a sound has been heard for long enough.
  timer = setInterval(() => {
    if (!document.hidden) state.pageMs += 250;
    next.refresh();
  }, 250);
  return trial;
}
