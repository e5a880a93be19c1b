// MUSHRA (ITU-R BS.1534-3): many versions against an open reference, each on a scale from 0 to 100.

const BANDS = ['Bad', 'Poor', 'Fair', 'Good', 'Excellent'];

/** The five words of the continuous quality scale, over the sliders. */
function scaleWords() {
  const words = BANDS.map((word) => make('span', {}, word));
  return make('div', { class: 'row words', 'aria-hidden': 'true' }, make('span'), make('div', { class: 'scale' }, ...words), make('span'));
}

/** The word for a score. */
function bandOf(score) {
  return BANDS[Math.min(4, Math.floor(score / 20))];
}

/** One version: its button, its slider, its score. */
function ratingRow(trial, { role, label, key }) {
  const listen = button(label, { class: 'stimulus', 'aria-label': `Play ${label}`, onclick: () => trial.player.toggle(role) });
  const slider = make('input', { type: 'range', min: 0, max: 100, step: 1, value: 50, 'aria-label': `Quality of ${label}` });
  const score = make('output', { class: 'score' });
  const rate = () => trial.answer(role, Number(slider.value));
  slider.addEventListener('input', rate);
  slider.addEventListener('click', rate); // a slider that is left where it stands gives no input event
  const node = make('div', { class: 'row' }, listen, slider, score);
  const refresh = () => {
    const value = trial.state.answers[role];
    const current = trial.player.role === role;
    slider.disabled = !current;
    node.classList.toggle('current', current);
    node.classList.toggle('rated', value !== undefined);
    listen.classList.toggle('on', current && trial.player.state === 'playing');
    listen.setAttribute('aria-pressed', String(current));
    score.textContent = value === undefined ? '–' : String(value);
    slider.setAttribute('aria-valuetext', value === undefined ? 'not rated' : `${value}, ${bandOf(value)}`);
    if (value !== undefined) slider.value = String(value);
  };
  return { node, refresh, slider, role, key };
}

/** Keys of the page: digits play a version and put the focus on its slider, arrows move it from anywhere. */
function mushraKeys(trial, rows) {
  const choose = (row) => {
    trial.player.toggle(row.role);
    row.slider.focus();
  };
  const nudge = (step) => (event) => {
    const row = rows.find(({ role }) => role === trial.player.role);
    if (!row) return;
    row.slider.focus();
    const value = Number(row.slider.value) + step * (event.shiftKey ? 10 : 1);
    trial.answer(row.role, Math.max(0, Math.min(100, value)));
  };
  const arrows = { arrowup: nudge(1), arrowright: nudge(1), arrowdown: nudge(-1), arrowleft: nudge(-1) };
  return { ...Object.fromEntries(rows.map((row) => [row.key, () => choose(row)])), ...arrows };
}

const MUSHRA = {
  question: 'How good is each sound, compared with the reference?',
  help: 'Play the reference and every numbered sound; you can switch at any moment. Move the slider of the sound that plays. One of the sounds is the reference itself: give it 100.',
  keys: [['1 2 …', 'sounds'], ['← →', 'slider']],
  loop: true,
  region: true,

  roles(page) {
    const rated = page.stimuli.map((stimulus, i) => ({ role: String(i + 1), label: String(i + 1), stimulus, key: String((i + 1) % 10) }));
    // Two keys for ten and more would surprise; those are played with the pointer.
    return [openReference(page), ...rated.map((role, i) => (i < 10 ? role : { ...role, key: '' }))].filter(Boolean);
  },

  view(trial) {
    const rows = trial.roles.filter(({ role }) => role !== 'reference').map((role) => ratingRow(trial, role));
    const reference = referenceButton(trial);
    const refresh = () => [reference, ...rows].forEach((part) => part.refresh());
    const node = make('div', { class: 'ratings' }, reference.node, scaleWords(), ...rows.map((row) => row.node));
    return { node, refresh, shortcuts: mushraKeys(trial, rows) };
  },

  missing(trial) {
    const rated = trial.roles.filter(({ role }) => role !== 'reference');
    const unrated = rated.filter(({ role }) => trial.state.answers[role] === undefined);
    return [listOf('play', trial.unheard(trial.roles)), listOf('rate', unrated)];
  },

  advice(trial) {
    if (Object.values(trial.state.answers).includes(100)) return '';
    return 'One of the sounds is identical to the reference and should have 100. You can look for it, or go on all the same.';
  },

  answers(page, state) {
    return page.stimuli.map((stimulus, i) => {
      const role = String(i + 1);
      return { stimulus, slot: i + 1, other: '', x: '', answer: state.answers[role], roles: [role] };
    });
  },
};
