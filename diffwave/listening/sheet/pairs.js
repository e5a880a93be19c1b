// Tests of two sounds: preference (ab), comparison rating (cmos, ITU-T P.800 annex E), which is X (abx).

/** A pair test; `scale` lists its answers, `withX` says whether X is played too. */
function pairMethod({ question, help, scale, keys, legend, withX }) {
  const pairRoles = (page) => {
    const [a, b] = page.stimuli;
    const x = withX ? [{ role: 'X', label: 'X', stimulus: page.x, key: 'x' }] : [];
    return [{ role: 'A', label: 'A', stimulus: a, key: 'a' }, { role: 'B', label: 'B', stimulus: b, key: 'b' }, ...x];
  };
  return {
    question,
    help,
    keys: [['A B' + (withX ? ' X' : ''), 'sounds'], ...keys],
    loop: false,
    region: true,
    roles: (page) => [openReference(page), ...pairRoles(page)].filter(Boolean),
    view: (trial) => pairView(trial, scale, legend),
    missing: (trial) => [
      listOf('play', trial.unheard(trial.roles.filter(({ role }) => role !== 'reference'))),
      trial.state.answers.choice === undefined ? 'choose an answer' : '',
    ],
    advice: () => '',
    answers(page, state) {
      const roles = pairRoles(page).map(({ role }) => role);
      return [{ stimulus: page.stimuli[0], slot: 1, other: page.stimuli[1], x: page.x, answer: state.answers.choice, roles }];
    },
  };
}

/** The big buttons that play, and the answers below. */
function pairView(trial, scale, legend) {
  const reference = referenceButton(trial);
  const sounds = trial.roles.filter(({ role }) => role !== 'reference');
  const buttons = sounds.map(({ role, label }) => playButton(trial, role, label, 'stimulus big'));
  const answers = choices(trial, scale, legend);
  const node = make('div', {}, reference.node, make('div', { class: 'pair' }, ...buttons.map((each) => each.node)), answers.node);
  const shortcuts = { ...answers.shortcuts };
  for (const { role, key } of sounds) shortcuts[key] = () => trial.player.toggle(role);
  return { node, refresh: () => [reference, ...buttons, answers].forEach((part) => part.refresh()), shortcuts };
}

const AB = pairMethod({
  question: 'Which of the two sounds better?',
  help: 'Play A and B, as often as you like; you can switch at any moment. Then say which one you prefer.',
  legend: 'Preference',
  keys: [['0 1 2', 'answer']],
  scale: [
    { value: 'a', label: 'A is better', key: '1' },
    { value: 'none', label: 'No preference', key: '0' },
    { value: 'b', label: 'B is better', key: '2' },
  ],
  withX: false,
});

const CMOS = pairMethod({
  question: 'How is the quality of B, compared with A?',
  help: 'Play A first, then B; you can switch at any moment. Then say how B compares with A.',
  legend: 'Compared with A, B is',
  keys: [['1 – 7', 'answer']],
  scale: [
    { value: 3, label: 'Much better', key: '7' },
    { value: 2, label: 'Better', key: '6' },
    { value: 1, label: 'Slightly better', key: '5' },
    { value: 0, label: 'About the same', key: '4' },
    { value: -1, label: 'Slightly worse', key: '3' },
    { value: -2, label: 'Worse', key: '2' },
    { value: -3, label: 'Much worse', key: '1' },
  ],
  withX: false,
});

const ABX = pairMethod({
  question: 'Is X the same as A, or the same as B?',
  help: 'Play A, B and X, as often as you like; you can switch at any moment. X is one of the two. If you cannot tell, guess.',
  legend: 'X is',
  keys: [['1 2', 'answer']],
  scale: [
    { value: 'a', label: 'X is A', key: '1' },
    { value: 'b', label: 'X is B', key: '2' },
  ],
  withX: true,
});
