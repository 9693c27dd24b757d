// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.30;

/// What the router needs of a token.
interface IRoutedToken {
    function transferFrom(address from, address to, uint256 value) external returns (bool);
    function approve(address spender, uint256 value) external returns (bool);
    function allowance(address owner, address spender) external view returns (uint256);
}

/// What the router needs of a pool.
interface IRoutedPool {
    function token0() external view returns (address);
    function token1() external view returns (address);
    function swap(address tokenIn, uint256 amountIn, uint256 minimumOut, address to) external returns (uint256);
}

/// Swaps along a path of pools.
contract Router {
    event Routed(address indexed sender, address indexed tokenIn, uint256 amountIn, address tokenOut, uint256 amountOut);

    error Expired(uint256 deadline);
    error NotInPool(address token, address pool);
    error TooLittle(uint256 amount, uint256 wanted);
    error TransferFailed(address token);

    /// Sells `amountIn` of `tokenIn` through all of `pools` in turn.
    function swapAlong(
        address[] calldata pools,
        address tokenIn,
        uint256 amountIn,
        uint256 minimumOut,
        address to,
        uint256 deadline
    ) external returns (uint256 amountOut) {
        if (block.timestamp > deadline) revert Expired(deadline);
        if (!IRoutedToken(tokenIn).transferFrom(msg.sender, address(this), amountIn)) revert TransferFailed(tokenIn);
        address token = tokenIn;
        amountOut = amountIn;
        for (uint256 hop = 0; hop < pools.length; ++hop) {
            address pool = pools[hop];
            if (IRoutedToken(token).allowance(address(this), pool) < amountOut) {
                IRoutedToken(token).approve(pool, type(uint256).max);
            }
            address next = _other(pool, token);
            amountOut = IRoutedPool(pool).swap(token, amountOut, 1, hop + 1 == pools.length ? to : address(this));
            token = next;
        }
        if (amountOut < minimumOut) revert TooLittle(amountOut, minimumOut);
        emit Routed(msg.sender, tokenIn, amountIn, token, amountOut);
    }

    function _other(address pool, address token) private view returns (address) {
        address token0 = IRoutedPool(pool).token0();
        address token1 = IRoutedPool(pool).token1();
        if (token == token0) return token1;
        if (token == token1) return token0;
        revert NotInPool(token, pool);
    }
}
