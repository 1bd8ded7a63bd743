/** Rails that carry everything the module takes: one of them alone is the total. */
const TOTALS = ['VDD_IN', 'POM_5V_IN', 'VDD_5V_IN', '5V_IN'];

/**
 * Rails of boards without a total rail, fed side by side from the input.
 *
 * AGX Orin: VDDQ_VDD2_1V8AO hangs below VIN_SYS_5V0 and is left out, or it would count twice.
 * AGX Xavier (JetPack 4): GPU, CPU, SOC, CV, VDDRQ and SYS5V each come from the input.
 */
const SIDE_BY_SIDE: readonly (readonly string[])[] = [
  ['VDD_GPU_SOC', 'VDD_CPU_CV', 'VIN_SYS_5V0'],
  ['GPU', 'CPU', 'SOC', 'CV', 'VDDRQ', 'SYS5V'],
];

/**
 * Labels of the rails whose sum is the board's power, or undefined when the labels make no known total.
 * A total rail is never added to its children.
 */
export function chooseRails(labels: readonly string[]): readonly string[] | undefined {
  const total = TOTALS.find((label) => labels.includes(label));
  if (total !== undefined) return [total];
  return SIDE_BY_SIDE.find((rails) => rails.every((label) => labels.includes(label)));
}
