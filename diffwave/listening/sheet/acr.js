// Absolute category rating (ITU-T P.800): one sound, five words.

const CATEGORIES = [[5, 'Excellent'], [4, 'Good'], [3, 'Fair'], [2, 'Poor'], [1, 'Bad']];

const ACR = {
  question: 'How good is the quality of this sound?',
  help: 'Play the sound to its end, then choose the word that fits best. You can play it again.',
  keys: [['1 – 5', 'answer']],
  loop: false,
  region: false,

  roles(page) {
    return [{ role: '1', label: 'Sound', stimulus: page.stimuli[0], key: '' }];
  },

  view(trial) {
    return choices(trial, CATEGORIES.map(([value, label]) => ({ value, label, key: String(value) })), 'Quality');
  },

  missing(trial) {
    const cutShort = (trial.state.reach['1'] || 0) < trial.player.duration - 0.05;
    return [cutShort ? 'play the sound to its end' : '', trial.state.answers.choice === undefined ? 'choose an answer' : ''];
  },

  advice() {
    return '';
  },

  answers(page, state) {
    return [{ stimulus: page.stimuli[0], slot: 1, other: '', x: '', answer: state.answers.choice, roles: ['1'] }];
  },
};
