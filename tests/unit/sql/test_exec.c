#include <CUnit/CUnit.h>
void suite_sql_exec(void);
void suite_sql_exec(void) {}
