/* One line an op: the names of the `const struct dg_op` objects, in the order of their plan numbers. Append only: plans
 * store the index, and the plan's version is raised when a line moves. */
DG_OP(dg_op_add)
