/*
 * sim.h - the simulator: whole clusters from a seed (sim). See README and tests/sim/README.
 */
#ifndef VALENCE_SIM_SIM_H
#define VALENCE_SIM_SIM_H

int sim_main(int argc, char **argv); /* `valence sim`; the exit status */

#endif
