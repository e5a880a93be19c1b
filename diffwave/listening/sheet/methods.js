// What the methods share: buttons that play, answers to choose from, and the list of methods.

/** The role of the open reference; null if the trial has none. */
function openReference(page) {
  return page.reference ? { role: 'reference', label: 'Reference', stimulus: page.reference, key: 'r' } : null;
}

/** "play 2, 4"; empty if there is nothing to list. */
function listOf(verb, roles) {
  return roles.length ? `${verb} ${roles.map(({ label }) => label).join(', ')}` : '';
}

/** A button that plays a sound, or pauses the one that plays. */
function playButton(trial, role, label, kind) {
  const node = button(label, { class: kind, 'aria-label': `Play ${label}`, onclick: () => trial.player.toggle(role) });
  const refresh = () => {
    const current = trial.player.role === role;
    node.classList.toggle('current', current);
    node.classList.toggle('on', current && trial.player.state === 'playing');
    node.classList.toggle('heard', trial.unheard([{ role }]).length === 0);
    node.setAttribute('aria-pressed', String(current));
  };
  return { node, refresh };
}

/** The open reference's button; nothing in a trial without one. */
function referenceButton(trial) {
  if (!trial.page.reference) return { node: '', refresh() {} };
  return playButton(trial, 'reference', 'Reference', 'stimulus reference');
}

/** Answers of which one is chosen: [{value, label, key}]. */
function choices(trial, scale, legend) {
  const choose = (value) => trial.answer('choice', value);
  const buttons = scale.map(({ value, label, key }) => ({
    value,
    node: button(label, { class: 'choice', 'data-answer': value, onclick: () => choose(value) }, keyCap(key)),
  }));
  const refresh = () => {
    for (const { value, node } of buttons) node.setAttribute('aria-pressed', String(trial.state.answers.choice === value));
  };
  const node = make('div', { class: `choices of${scale.length}`, role: 'group', 'aria-label': legend }, make('p', { class: 'legend' }, legend));
  node.append(...buttons.map((each) => each.node));
  const shortcuts = Object.fromEntries(scale.map(({ value, key }) => [key, () => choose(value)]));
  return { node, refresh, shortcuts };
}

const METHODS = { mushra: MUSHRA, acr: ACR, ab: AB, cmos: CMOS, abx: ABX };
