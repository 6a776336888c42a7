// The body of every link test: it is the linking that proves a module's declared dependencies.
int main() { return 0; }
